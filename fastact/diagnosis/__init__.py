"""From rows to findings: what is wrong, where, since when and why. Where rows come from is not known here.

diagnoser       takes rows and gives a `Diagnosis`; the entry
judging         asks each layer's rules what they find there
onsets          tracks since when each row condition has held
followed        the layers whose row conditions are the same expressions, followed together
row_conditions  conditions of single rows, for numbers and arrays alike
network         what a rule sees: one layer's rows, and what is compared between layers
rule            what a rule is, and when one finding explains another
rules/          the rules, one file for each condition; the list of them; `Thresholds`
thresholds      how a rule declares its thresholds
frozen          frozen dataclasses, made in a third of the time
finding         what a rule finds: `Finding`, `Evidence`, `FindingError`
causes          hypotheses on why, with what speaks for and against each
facts           what several rules ask of the rows
dying           why neurons died
likeness        how alike the samples of a layer are, whatever its size
softmax         what the state of a softmax tells
choosing        why softmaxes have nothing to choose
fading          why samples can hardly be told apart
births          where NaN and Inf were born
origins         what could have made NaN and Inf
computing       what a layer can compute that is not finite, out of what is
growths         why values grew by orders of magnitude
periods         how regularly a number swings
links           puts consequences behind their culprits
earliest        the earliest finding that may explain another one, of many
accept          what the user has accepted, by layer and condition: set apart
notes           what is true and does no harm, a line each
report          a diagnosis as a value
render          how it is shown: text, and for a terminal
settings        what a TOML file says: thresholds, and what is accepted
schema          the JSON Schema of that JSON
layer_types     what the type of a layer tells
experts         experts of a mixture that get no tokens
trend           how fast a number grows, and when it reaches a bound
remedies        remedies that several rules give
presets         the published rules of others
"""
