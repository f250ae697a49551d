"""Two runs side by side: where they part beyond what their noise explains.

statistics  what is compared, and on which scale
seeds       what runs with other seeds differ by
pairs       rows of the same layer in the same step
noise       what noise explains, and where the runs part
report      a comparison as a value
render      how it is told
sources     what can be compared
compare     the entry
"""
