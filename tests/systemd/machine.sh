# What the tests of the units share: sourced by them, as root in tests/vm/run --systemd.
#
# shellcheck shell=bash
skip() {
  echo "skipped: $*"
  exit 77
}

# need_machine BIN_DIR : skips where it is not that machine, or where the unit would not see BIN_DIR.
need_machine() {
  [[ $(</proc/1/comm) == systemd && $EUID == 0 ]] || skip "needs root and systemd as process 1"
  [[ -n ${FNRUN_IN_VM:-} ]] || skip "makes a user: for the machine of tests/vm/run only"
  case $1 in
    /root/* | /tmp/* | /home/*)  # house-allow: what ProtectHome= and PrivateTmp= hide
      skip "the unit does not see what is built in $1"
      ;;
  esac
}

# let_all_reach DIR : as an installed folder is.
let_all_reach() {
  local place=$1
  while [[ $place != / ]]; do
    chmod o+rx "$place"
    place=$(dirname "$place")
  done
}

# shellcheck disable=SC2034  # The exit status of who sources this.
failed=0
# verdict WHAT GOOD : `said` tells what there was to see where it is not good.
verdict() {
  if [[ $2 == yes ]]; then
    echo "ok      $1"
  else
    echo "NOT OK  $1; it said:"
    said | tail -n 20 | sed 's/^/          /'
    # shellcheck disable=SC2034
    failed=1
  fi
}
# check WHAT COMMAND… : good if the command succeeds.
check() {
  local what=$1
  shift
  if "$@"; then verdict "$what" yes; else verdict "$what" no; fi
}
