#!/bin/sh
# What `make demo` runs: a new project, two versions of real data, and what dedupver says of them.
set -eu
bin=$1 target=$2
PATH=$bin:$PATH
export PATH
export GIT_AUTHOR_NAME=demo GIT_AUTHOR_EMAIL=demo@localhost GIT_COMMITTER_NAME=demo GIT_COMMITTER_EMAIL=demo@localhost

say() {
  printf '\n$ %s\n' "$*"
  "$@"
}

# fill data/raw with a version, build it, commit and tag it
release() {
  say python -m dedupver.sample "$1" data/raw
  say dvc add --quiet data/raw
  say dvc repro --quiet
  git add --all
  say git commit --quiet --message "$1"
  say git tag "$1"
  say dedupver show
}

rm -rf "$target"
mkdir -p "$target"
cd "$target"
git init --quiet --initial-branch main
dvc init --quiet
dvc config core.analytics false
dvc config core.check_update false
say dedupver init
# which columns of the tables make a row that is compared, and how those are compared that are no texts
say sed -i.before 's/fields: null /fields: [name, city, country, lat, lon] /' params.yaml
say sed -i.before 's/fields: {} /fields: {lat: {compare: number, tolerance: 0.01}, lon: {compare: number, tolerance: 0.01}} /' params.yaml
rm params.yaml.before
release v1

say dedupver next v2
release v2
say dedupver diff v1 v2
say dedupver check
say dedupver check --history
printf '\nThe project is in %s: manifest/ says who stayed and who went and why, clean/ is the dataset, DATASET.md a page about it.\n' "$target"
