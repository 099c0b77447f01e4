"""Fixed constants, of the macOS fork's form; it downloads nothing."""

MAX_SEQ_LEN = 2048  # context length
TIME_BUDGET = 300  # training time budget in seconds (5 minutes)
EVAL_TOKENS = 40 * 524288  # number of tokens for val eval

VOCAB_SIZE = 8192

if __name__ == "__main__":
    print(f"Vocab size: {VOCAB_SIZE:,}")
