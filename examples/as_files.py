"""Boston housing as a table, IMDB and Reuters as texts: `as_files.py NAME FOLDER` writes them."""

# %%
import csv
import sys
from pathlib import Path

from keras import datasets

NAME, FOLDER = sys.argv[1], Path(sys.argv[2])
#: The variables of Boston housing, and the price that they are to tell.
COLUMNS = "CRIM ZN INDUS CHAS NOX RM AGE DIS RAD TAX PTRATIO B LSTAT MEDV".split()
#: Of IMDB's and Reuters' tokens, where words begin: 0 pads, 1 starts a text, 2 is an unknown word.
FIRST_WORD = 3


# %% A row a house, in train.csv and test.csv
def write_table() -> None:
    """Write Boston housing."""
    for split, (rows, prices) in zip(
        ("train", "test"), datasets.boston_housing.load_data(), strict=True
    ):
        FOLDER.mkdir(parents=True, exist_ok=True)
        with (FOLDER / f"{split}.csv").open("w", newline="", encoding="utf-8") as file:
            table = csv.writer(file)
            table.writerow(COLUMNS)
            table.writerows([*row, price] for row, price in zip(rows, prices, strict=True))


# %% A file a text, in a folder a class, below train and test
def write_texts() -> None:
    """Write IMDB or Reuters."""
    given = datasets.imdb if NAME == "imdb" else datasets.reuters
    classes = ("negative", "positive") if NAME == "imdb" else given.get_label_names()
    words = {rank + FIRST_WORD: word for word, rank in given.get_word_index().items()}
    for split, (texts, labels) in zip(("train", "test"), given.load_data(), strict=True):
        for number, (tokens, label) in enumerate(zip(texts, labels, strict=True)):
            path = FOLDER / split / classes[label] / f"{number:05}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            text = " ".join(words[token] for token in tokens if token in words)
            path.write_text(text, encoding="utf-8")


# %%
if NAME == "boston_housing":
    write_table()
else:
    write_texts()
