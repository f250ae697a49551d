// scales
