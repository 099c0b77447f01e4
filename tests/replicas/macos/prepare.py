"""Fixed constants, of the macOS fork's form; it downloads nothing."""

MAX_SEQ_LEN = 2048
TIME_BUDGET = 300
EVAL_TOKENS = 40 * 524288

VOCAB_SIZE = 8192

if __name__ == "__main__":
    print(f"Vocab size: {VOCAB_SIZE:,}")
