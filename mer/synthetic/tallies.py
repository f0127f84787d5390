"""How many clips of which emotion each subject of the micro-expression corpora has.

The three-class sums per subject are those of the MEGC2019 composite (442 clips, 68 subjects): 145
of CASME II, 133 of SAMM and 164 of SMIC-HS. How a subject's negative clips divide into single
emotions, and who has the `others`, is made up so that the totals are those of the real workbooks.
"""

CASME2_EMOTIONS = (
    "happiness",
    "surprise",
    "disgust",
    "repression",
    "others",
    "sadness",
    "fear",
)

#: Subject -> clips per emotion in the order of `CASME2_EMOTIONS`; 255 rows. MEGC2019 leaves out all
#: others, sadness and fear, and one disgust row each of sub04 and sub05.
CASME2: dict[str, tuple[int, ...]] = {
    "sub01": (1, 0, 2, 0, 5, 0, 0),
    "sub02": (1, 3, 4, 1, 4, 0, 0),
    "sub03": (0, 1, 3, 1, 3, 0, 0),
    "sub04": (0, 0, 3, 0, 3, 0, 0),
    "sub05": (1, 5, 1, 0, 9, 0, 0),
    "sub06": (1, 2, 1, 0, 2, 0, 0),
    "sub07": (0, 0, 4, 1, 3, 0, 0),
    "sub08": (0, 0, 1, 0, 2, 0, 0),
    "sub09": (5, 0, 2, 3, 4, 0, 1),
    "sub10": (0, 0, 0, 0, 11, 0, 1),
    "sub11": (0, 0, 4, 0, 5, 0, 0),
    "sub12": (2, 4, 3, 2, 2, 0, 0),
    "sub13": (2, 0, 0, 0, 6, 0, 0),
    "sub14": (3, 0, 0, 0, 2, 0, 0),
    "sub15": (1, 1, 1, 0, 1, 0, 0),
    "sub16": (2, 0, 1, 0, 1, 0, 0),
    "sub17": (7, 1, 11, 12, 3, 2, 0),
    "sub18": (0, 0, 0, 0, 3, 0, 0),
    "sub19": (3, 5, 2, 1, 4, 1, 0),
    "sub20": (0, 0, 2, 0, 8, 0, 0),
    "sub21": (0, 0, 1, 0, 1, 0, 0),
    "sub22": (0, 0, 2, 0, 1, 0, 0),
    "sub23": (1, 0, 4, 3, 4, 0, 0),
    "sub24": (0, 1, 2, 0, 3, 3, 0),
    "sub25": (0, 2, 3, 0, 2, 0, 0),
    "sub26": (2, 0, 6, 3, 7, 1, 0),
}

SAMM_EMOTIONS = (
    "Anger",
    "Contempt",
    "Disgust",
    "Fear",
    "Sadness",
    "Happiness",
    "Surprise",
    "Other",
)

#: Subject -> clips per emotion in the order of `SAMM_EMOTIONS`; 159 rows, 133 without `Other`.
SAMM: dict[str, tuple[int, ...]] = {
    "006": (6, 1, 0, 2, 0, 0, 2, 1),
    "007": (1, 0, 0, 0, 0, 5, 2, 1),
    "009": (2, 1, 0, 0, 0, 0, 1, 1),
    "010": (2, 0, 1, 1, 0, 0, 0, 1),
    "011": (8, 2, 0, 1, 2, 7, 0, 2),
    "012": (1, 1, 0, 0, 0, 0, 1, 1),
    "013": (4, 0, 0, 1, 1, 0, 0, 2),
    "014": (1, 1, 0, 0, 0, 7, 1, 1),
    "015": (1, 0, 1, 0, 0, 0, 1, 1),
    "016": (1, 0, 0, 0, 1, 1, 2, 1),
    "017": (2, 0, 1, 0, 0, 0, 1, 1),
    "018": (1, 1, 0, 0, 0, 0, 1, 1),
    "019": (0, 0, 0, 0, 0, 1, 0, 1),
    "020": (1, 0, 0, 1, 0, 2, 0, 1),
    "021": (1, 0, 1, 0, 0, 0, 0, 0),
    "022": (2, 0, 0, 0, 1, 2, 0, 1),
    "023": (1, 0, 0, 0, 0, 0, 0, 0),
    "024": (0, 0, 1, 0, 0, 0, 0, 0),
    "025": (0, 0, 0, 0, 0, 0, 0, 1),
    "026": (6, 2, 1, 0, 0, 0, 0, 2),
    "028": (1, 0, 0, 0, 0, 0, 2, 1),
    "030": (2, 0, 0, 1, 0, 0, 0, 1),
    "031": (1, 0, 0, 0, 0, 0, 0, 0),
    "032": (2, 1, 0, 1, 0, 0, 0, 1),
    "033": (2, 1, 0, 0, 1, 1, 0, 1),
    "034": (2, 0, 1, 0, 0, 0, 0, 1),
    "035": (6, 0, 1, 0, 0, 0, 1, 1),
    "036": (0, 0, 1, 0, 0, 0, 0, 0),
    "037": (0, 1, 0, 0, 0, 0, 0, 0),
}

SMIC_EMOTIONS = ("negative", "positive", "surprise")

#: Subject as on disk (with holes) -> clips per class in the order of `SMIC_EMOTIONS`; 164 clips.
SMIC: dict[str, tuple[int, ...]] = {
    "s1": (3, 2, 1),
    "s2": (0, 1, 5),
    "s3": (22, 11, 6),
    "s4": (10, 4, 5),
    "s5": (1, 0, 1),
    "s6": (2, 0, 2),
    "s8": (9, 4, 0),
    "s9": (0, 1, 3),
    "s11": (3, 3, 1),
    "s12": (0, 8, 1),
    "s13": (0, 10, 0),
    "s14": (3, 2, 5),
    "s15": (1, 1, 2),
    "s18": (2, 0, 5),
    "s19": (0, 1, 1),
    "s20": (14, 3, 5),
}

#: Labelled sequences per class in the real CK+ (327); the synthetic ones are drawn in this ratio.
CKPLUS = {
    "anger": 45,
    "contempt": 18,
    "disgust": 59,
    "fear": 25,
    "happy": 69,
    "sadness": 28,
    "surprise": 83,
}
