"""Many runs of one model: every combination of some options, or of seeds, in one folder.

FOLDER/
    sweep.json          the model, the options of all, and what varies
    results.jsonl       one JSON object a line: a run that ended, and how
    lr=0.001,seed=0/    a run like any other
    failed/             runs that ended with an error
    logs/               what runs said, where several go on at once
"""
