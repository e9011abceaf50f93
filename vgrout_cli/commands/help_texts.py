"""What `--help` says of every command, and in which groups `vgrout --help` lists them. Written for users of the command line."""

GROUPS: dict[str, tuple[str, ...]] = {
    "first steps": ("demo", "doctor", "accept", "completion"),
    "train": ("init", "train", "suite", "simulate", "arms", "config"),
    "measure and look": (
        "eval",
        "eval-curve",
        "monitor",
        "quarantine-sweep",
        "gate-null",
        "report",
        "view",
        "list",
        "compare",
        "watch",
    ),
    "take away": ("export", "export-rollouts", "fetch"),
    "problems and grading": ("grade", "data", "tiny"),
}

ABOUT: dict[str, str] = {
    "accept": (
        "The acceptance run of a new machine or cluster: learner, engine, a tiny run with resume, evaluation and export, a "
        "killed engine. One page: pass, FAIL or not here, each with its number. The exit code is 1 where a line failed."
    ),
    "train": (
        "Train one arm and write everything about it into a run directory; or, with --resume, go on with a run that was stopped. "
        "Ctrl-C ends the running update, writes a checkpoint and exits with 130."
    ),
    "suite": (
        "Train and evaluate all arms over all seeds of a suite file. Run the same command again to go on where it stopped: "
        "runs that are done are not repeated. The exit code is 1 where a run failed."
    ),
    "init": (
        "Write a preset for your own model and problems: what you name is set, every other usual field is a comment with its "
        "meaning, its values and its default. The files are checked first."
    ),
    "completion": 'Print a script for bash or zsh. In the shell\'s start-up file: eval "$(vgrout completion bash)".',
    "arms": "List the arms: what each one means, and which fields it changes.",
    "config": "Say what the fields of the configuration mean, which values they take and what their defaults are.",
    "eval": (
        "Score one checkpoint of a run on a split, as trained (both blocks) and deployed (quarantine deleted), per loophole. "
        "Writes the record and the audits into RUN/eval/ and prints a table of rates with standard errors."
    ),
    "eval-curve": (
        "Score the checkpoints of runs on the test split, as trained and deployed. Writes RUN/eval_curve.jsonl and "
        "RUN/per_mode_deploy.json; with --monitor, --novel-markers, --without-hints, --closed, --samples or --every, an "
        "eval_curve_<what>.jsonl instead."
    ),
    "monitor": (
        "Choose a small subset of the test split, to follow a run with, and write its problem ids to a file. It has problems "
        "that the base solves and problems that it fails in the proportion of the whole split. Nothing is drawn at random."
    ),
    "quarantine-sweep": (
        "Score the last checkpoint on the test split with the quarantine's contribution times 0 (as deployed), 1 (as trained) "
        "and numbers between, and write RUN/quarantine_sweep.json: how sharply the two blocks are told apart. "
        "Engines start once for runs in a row that can share them, as those of a suite can."
    ),
    "gate-null": (
        "After training: how well the run's own direction tells its hacks from its other rollouts (AUROC), beside directions "
        "drawn at random. Probes the rollouts again and writes RUN/gate_null.json, which `vgrout report` shows. It reads "
        "audits: choose no setting by it on runs that you report."
    ),
    "export": "Write a checkpoint's deployed block (or, on request, both blocks) as a PEFT folder that vLLM and PEFT load.",
    "export-rollouts": (
        "Write the rollouts of runs as one Parquet table for pandas, datasets, Polars or DuckDB; with --audits also what is "
        "really true of each. Needs pyarrow. docs/reference/rollouts-table.md explains the columns."
    ),
    "fetch": "Copy a run's deploy export and metrics to this machine, from a shared path or from a node of a Ray cluster.",
    "grade": (
        "Grade a file of completions in the sandbox and write one verdict line for each, in order. "
        "The whole input is checked before anything runs, and the output file appears whole or not at all."
    ),
    "data": "Check problem files and authored pairs, fetch problem files, or make them of another data set.",
    "data check": (
        "Print everything that is wrong with problem files, and with the split that they make together: bad lines, repeated ids, "
        "problems that are asked again in the other file. The exit code is 0 only if nothing was found."
    ),
    "data check-pairs": (
        "Grade both sides of every authored pair. The hack side must be wrong and (unless tagged `general`) exploit the loophole "
        "of its tag, the clean side must be correct, and both must be about equally long. The exit code is 0 only if all hold."
    ),
    "data check-loophole": (
        "Read a loophole from a Python file of your own and grade its programs in the jail: its example must be wrong and paid, "
        "its attacks must not be paid. The exit code is 0 only if all of this holds. docs/extending.md goes through one."
    ),
    "data convert": (
        "Make problems of a coding data set in the form of MBPP, HumanEval or LeetCodeDataset, as JSON Lines. "
        "docs/reference/problems.md says which field becomes what. DEST passes `vgrout data check`, or it is not written."
    ),
    "data fetch": (
        "Copy a JSON Lines file from a path or a URL. An interrupted download goes on where it stopped (DEST.part); "
        "DEST appears only as a whole file with the expected digest."
    ),
    "tiny": "Build the tiny world: synthetic problems, authored pairs, a tokenizer and a small base model.",
    "tiny build": (
        "Make the tiny world from a seed and print how often the base model solves and hacks. "
        "On one machine the same seed gives the same bytes; between processors the weights differ in their last bits."
    ),
    "demo": (
        "Train `vanilla` and `routev` on the tiny world that comes with vgrout, evaluate both, print a table and draw the "
        "curves. Run it again to go on with a demo that was stopped."
    ),
    "report": "Compare runs and suites: one HTML page with figures, tables and checks, and the same figures and tables as files.",
    "simulate": (
        "Run the asynchronous driver under a virtual clock, to plan a cluster: no GPU, no Ray, seconds. Prints one table with a "
        "column per tried value. The times are the scenario's assumptions; compare them with the metrics of a real run."
    ),
    "view": "Look at runs and their rollouts in the browser, while they run or afterwards. Read-only, on 127.0.0.1.",
    "list": "One line for each run in these folders: arm, seed, state, updates done, last hack and solve rate in training.",
    "compare": "Print the fields in which two runs differ, then their metrics over the last updates that both have.",
    "watch": "Print a line for each update of a run as it is logged, until the run has ended. Ctrl-C ends only the watching.",
    "doctor": "Say what this machine can run: packages, cores, GPU, engine, jail level, and what is missing.",
}
