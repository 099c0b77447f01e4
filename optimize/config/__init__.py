"""What a study will do, known and checked before its first trial: settings, plan, trust in a stranger's folder."""
