"""The thresholds of `diagnose`, each with its reason.

"Broken" is for what no healthy project shows; "watch" is between that and "fine". The values were chosen on
healthy parts of four corpora (the demo, fire, fashion_brands, crossner_politics) and are the same for all
data; `benchmark-diagnosis` measures how well they work.
"""

# Sizes of samples: `diagnose` takes a few minutes on one core whatever the size of the data.
TRAIN_TEXTS = 600  # for trainings: enough for F about .8 on easy labels
ANNOTATED_TEXTS = 2000  # for out-of-fold predictions: ten seconds; some hundred texts are enough
CHECK_TEXTS = 300  # of dev and of test: enough for an F about .8 ±.05
MINIMUM_TEXTS = 20  # below, cross-validation and two-sample tests say nothing
MINIMUM_SPANS = 20

# --- Data: offsets and tokens
# `split` refuses or fixes all of these, so a healthy corpus has none; a single slip doesn't break a model.
FAULTY_SPANS = 0.01
# Share of the misplaced spans behind the first character outside ASCII that another unit of counting fixes.
# Chance fixes one in ten, as most positions are within a word.
MENDED = 0.5
# Share of texts that repeat others of their split: `split` keeps one of each, and chats or forms have a few.
REPEATED = 0.2
# Share of texts with other tokens in the .spacy file than the config's tokenizer gives. Normally none.
OTHER_TOKENS = 0.01

# --- Data: labels
RARE = 20  # spans: P and R of a label with fewer in training are mostly luck
DOMINANT = 0.95  # share of one label: the micro average then says nothing about the others
DENSITY = 0.5  # spans per word in dev, smaller or larger than in train by this factor: other rules

# --- Data: leakage
LEAKED = 0.01  # share of dev or test: moves F by at most a point, which is as much as a seed does
SIMILAR = 0.8  # Jaccard of word pairs: one word of thirty differs; the default of `split`
KNOWN_STRINGS = 0.8  # share of test spans whose string was seen in training: F then measures memory

# --- Data: annotations, by out-of-fold predictions of a linear model of tokens and their neighbours
# Average precision by which labelled tokens are ranked above the rest, as a share of the way from chance
# (their frequency) to 1. Random places get 0 ± .03, the worst healthy subsample .6 (of rare names, some 150
# spans: .4).
PLACES = 0.2
# Spans, in all and per label: with fewer, the model may simply lack data.
MANY_SPANS = 100
MANY_OF_LABEL = 30
# Accuracy of the label of a labelled token, as a share of the way from "always the most frequent" to 1.
TYPES = 0.2
# A token's own form predicts best whether it is labelled; by how much its neighbour's may do better.
SHIFTED = 0.05
# Share of the occurrences of strings annotated elsewhere that are annotated too. Healthy: .94 and up, with
# hard labels too; without 30 % of the spans .44 to .62. Broken if the whole 95 % interval lies below.
ANNOTATED = 0.85
# Share of the tokens most probably labelled (as many as half of those that are) that are labelled.
# Easy labels: .94 and up; hard ones go down to .7 with all spans there, so this alone proves nothing.
SUREST = 0.85
# Share of the tokens of one label for which a model of train predicts another one, both ways. With two
# shuffled labels it is half.
SWAPPED = 0.6
CONFIDENT = 0.9  # probability of another label, next to which the given one has at most UNLIKELY
UNLIKELY = 0.05
OTHERS = 3  # texts with a string: if most of fewer don't annotate it, that may be chance
# Share of spans worth a second look; above it are many slips, or labels that are hard to tell apart (nine
# labels of politics: .1, and .2 with only a hundred texts).
LABEL_ERRORS = 0.1
# Share of spans whose string isn't annotated in most other texts. Ambiguous words cause some:
# healthy sets reach .02 (fire: "one", "incorporated"), most to 0.
NEEDLESS = 0.05
# Share of the spans of repeated strings that have another label than is usual for the string, for the label
# with most of them. Homonyms cause some: healthy sets reach .06, half a label renamed .3.
INCONSISTENT_WATCH = 0.1
INCONSISTENT = 0.2
# Skill of a model of train on dev and test, as a share of that out of fold on train. Same rules: .9 and up.
SAME_RULES = 0.5
LONGER = 1.3  # mean number of tokens of a span in one split, as a multiple of that in another

# --- Data: drift
# Area under the curve of a classifier that tells two splits apart by words (two-sample test, Lopez-Paz and
# Oquab 2017). One source: .5 ± .05. Another writer: up to .8. Another domain: .95 and up.
DRIFT_WATCH = 0.7
DRIFT = 0.9

# --- Training
TINY = 15  # texts to overfit
TINY_STEPS = 160
TINY_F = 0.9  # a model with thousands of weights can know 15 texts by heart
WATCH_STEPS = 40
SWEEP = (0.01, 0.1, 1.0, 10.0, 100.0)  # multiples of the config's learning rate
USUAL_RATES = (1e-4, 1e-3, 1e-2)  # of Adam, tried where no multiple learns: of 0 there is none
SWEEP_STEPS = 32
SWEEP_ROUND = 8  # steps in which each text is seen once
# One training is too few: near a rate that is too high the final loss depends on the seed.
SWEEP_SEEDS = 2
# Seen again and again, so that the loss of the first steps and of the last is of the same texts.
SWEEP_TEXTS = 64
REFERENCE_STEPS = 300
SHUFFLED_STEPS = 150
BATCHES = {4: 80, 16: 80}  # texts a batch: steps
SEEDS = 2
# Norm of a layer's change over its norm at the start, after WATCH_STEPS; single precision ends at 1e-7.
STILL = 1e-5
# The config's clipping against the gradients' median norm: Adam forgives a factor, but not its epsilon.
CLIPPED = 1e-3
FALL = 0.1  # of the loss, as a share: dropout alone moves it by a few percent
# Share of the best learning rate's fall of the loss that the config's own reaches. On 16 samples of four
# corpora a sane rate reached .52 to 1.00, on texts from a template .32; one 100 times too high at most .19.
LEARNS = 0.25
# F with the config's dropout as a share of F without, after the same steps: of .5 it is .7 and up.
DROWNED = 0.3
VANISHING = 1e-9  # a layer's norm of gradients against the largest layer's
EXPLODING = 1e3  # growth of the norm from the first quarter of the steps to the last
UNSTABLE = 0.15  # F between seeds with small batches

# --- The four cases
CHANCE = 0.1  # F above chance and above shuffled labels up to which it is "hardly better"
TOO_GOOD = 0.98  # two annotators of the same texts rarely agree so well
TOO_GOOD_LOW = 0.95  # lower end of its interval: on a handful of texts all may be right by chance
