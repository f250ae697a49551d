"""Why a network does not learn, or learns too little: how its loss goes, what moves its weights, and what does not."""
