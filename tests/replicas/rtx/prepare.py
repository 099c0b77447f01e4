"""Constants of the Windows RTX fork's form: small stories, argparse, no shards."""

import argparse

MAX_SEQ_LEN = 2048
TIME_BUDGET = 300
EVAL_TOKENS = 40 * 524288
VOCAB_SIZE = 8192

DATASET_CHOICES = ("tinystories",)

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--dataset", choices=DATASET_CHOICES, default=DATASET_CHOICES[0])
    print(f"Dataset: {parser.parse_args().dataset}")
