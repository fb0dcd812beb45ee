#!/bin/sh
# A model in the pipeline, trained on two versions and at several thresholds: run.sh BIN TARGET [WHEEL [ONE_IN [THRESHOLDS]]]
# BIN has python, dvc and dedupver with scikit-learn; without WHEEL pip downloads it (126 MB) beside TARGET.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
bin=$1 target=$2 wheel=${3-} one_in=${4-1} thresholds=${5-0.6,0.7,0.9,1.0}
PATH=$bin:$PATH
export PATH
export GIT_AUTHOR_NAME=example GIT_AUTHOR_EMAIL=example@localhost
export GIT_COMMITTER_NAME=example GIT_COMMITTER_EMAIL=example@localhost

say() {
  printf '\n$ %s\n' "$*"
  "$@"
}

# a version: fill, build, commit and tag it, and try other thresholds on it
release() {
  say python "$here/data.py" "$wheel" "$1" data/raw/notices.jsonl "$one_in"
  say dvc add --quiet data/raw
  say dvc repro --quiet
  git add --all
  say git commit --quiet --message "$1"
  say git tag "$1"
  cp build/timings/train.json "../$1.seconds.json"
  [ -z "$thresholds" ] && return
  say dvc exp run --quiet --queue -S dedup.history=rejudge -S "dedup.thresholds.text=$thresholds"
  say dvc exp run --quiet --run-all
  say dvc exp show --no-pager --hide-workspace --md --drop '.*' --keep 'dedup.thresholds.text$|accuracy|inflated|unseen'
  dvc exp show --json >"../$1.json"
}

mkdir -p "$(dirname "$target")"
if [ -z "$wheel" ]; then
  say python -m pip download --quiet --no-deps --dest "$(dirname "$target")" scancode-toolkit-mini==32.5.0
  wheel=$(ls "$(dirname "$target")"/scancode_toolkit_mini-32.5.0-*.whl)
fi
wheel=$(cd "$(dirname "$wheel")" && pwd)/$(basename "$wheel")
rm -rf "$target"
mkdir "$target"
cd "$target"
git init --quiet --initial-branch main
dvc init --quiet
dvc config core.analytics false
dvc config core.check_update false
say dedupver init
# a row's own id, and no embeddings of texts, which only report
say sed -i.before -e 's/id: null /id: id /' -e 's/encoder: wordllama /encoder: null /' params.yaml
rm params.yaml.before
cp "$here/train.py" .
printf 'seed: 0\nC: 1.0\n' >train.yaml
say dvc stage add --quiet --name train --deps train.py --deps data/raw --deps clean --deps manifest \
  --params train.yaml:seed,C --metrics-no-cache metrics/train.json python train.py
release v1
say dedupver next v2 --time 2026-01-01T00:00:00Z
release v2
