# What tools/quickstart and tools/check share: where to build, and steps that report themselves.
# To be sourced by a script that has said `set -euo pipefail`.
# shellcheck shell=bash

SOURCE=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
SCRIPT=tools/$(basename "$0")
STEP=0
STEPS=0     # The script says how many there will be.
STEP_AT=0   # When the current one began, in SECONDS.
LOG=        # Where the output of the current one goes.

say_error() {
  local line
  for line in "$@"; do printf '%s: %s\n' "$SCRIPT" "$line" >&2; done
}

# shown PATH : as a user standing in the source tree would type it.
shown() { printf '%s' "${1#"$SOURCE/"}"; }

# --- Where to build ------------------------------------------------------------------------------

# writable_root DIR : whether this user can build in every preset's folder below DIR.
writable_root() {
  local path
  mkdir -p "$1" 2>/dev/null && [[ -w $1 ]] || return 1
  for path in "$1"/*/ "$1"/*/CMakeCache.txt "$1"/*/.ninja_log; do
    [[ ! -e $path || -w $path ]] || return 1
  done
}

# Sets BUILD_ROOT, the folder that holds one folder a preset. It is build/ in the source tree; if
# that belongs to somebody else (root built here before, say) a folder of the user's own, because
# everything can be built outside of the tree. FNRUN_BUILD_ROOT overrules both.
choose_build_root() {
  BUILD_ROOT=${FNRUN_BUILD_ROOT:-$SOURCE/build}
  local user
  user=$(id -un 2>/dev/null) || user="uid $EUID"  # A container's user may have no name.
  [[ $BUILD_ROOT == /* ]] || BUILD_ROOT=$SOURCE/$BUILD_ROOT
  if ! writable_root "$BUILD_ROOT"; then
    if [[ -n ${FNRUN_BUILD_ROOT:-} ]]; then
      say_error "FNRUN_BUILD_ROOT names a folder that $user cannot write: $BUILD_ROOT"
      exit 1
    fi
    local tree
    tree=$(printf '%s' "$SOURCE" | cksum | cut -d' ' -f1)
    local own=${XDG_CACHE_HOME:-${HOME:-/nonexistent}/.cache}/fnrun/$tree
    if ! writable_root "$own"; then
      say_error "$user cannot write $BUILD_ROOT (owner: $(owner_of "$BUILD_ROOT"))," \
        "nor $own." "Name a folder to build in: FNRUN_BUILD_ROOT=/some/folder $SCRIPT"
      exit 1
    fi
    echo "$(shown "$BUILD_ROOT") is not $user's to write (owner: $(owner_of "$BUILD_ROOT"));" \
      "building in $own"
    BUILD_ROOT=$own
  fi
  trap give_back EXIT
}

owner_of() {
  local path=$1
  while [[ ! -e $path ]]; do path=$(dirname "$path"); done
  stat -c %U "$path"
}

# Root may have built in somebody's checkout (sudo, or a container with the tree mounted): what was
# built is given to the owner of the tree, who would otherwise be unable to build or to clean up.
give_back() {
  local owner
  owner=$(stat -c %u:%g "$SOURCE")
  if ((EUID == 0)) && [[ $owner != 0:* && $BUILD_ROOT == "$SOURCE"/* && -d $BUILD_ROOT ]]; then
    chown -hR "$owner" "$BUILD_ROOT" || true
  fi
}

# Compilers and tests at the same time: one a processor, and 1.5 GiB of memory for each.
choose_jobs() {
  local room
  room=$(awk '/^MemAvailable:/ { print int($2 / 1572864) }' /proc/meminfo)
  JOBS=$(nproc)
  if ((room < JOBS)); then JOBS=$((room > 0 ? room : 1)); fi
  JOBS=${FNRUN_JOBS:-$JOBS}
}

# --- Steps ---------------------------------------------------------------------------------------

# step WHAT : opens a line of progress; step_ok or step_failed closes it.
step() {
  STEP=$((STEP + 1))
  STEP_AT=$SECONDS
  printf '[%d/%d] %s ... ' "$STEP" "$STEPS" "$1"
}
step_ok() { printf 'ok%s (%d s)\n' "${1:+, $1}" "$((SECONDS - STEP_AT))"; }

# step_failed HINT… : shows what the log says of it: from the first failed command on, or its end.
step_failed() {
  local status=$?
  printf 'FAILED (%d s)\n' "$((SECONDS - STEP_AT))"
  printf -- '---- %s ----\n' "$(shown "$LOG")"
  if grep -q '^FAILED: ' "$LOG"; then
    sed -n '/^FAILED: /,$p' "$LOG" | grep -v '^\[[0-9]*/[0-9]*\] ' | head -n 60
  else
    tail -n 40 "$LOG"
  fi
  echo '----'
  say_error "$@" "the whole log is $(shown "$LOG")"
  return "$((status == 0 ? 1 : status))"
}

# open_log NAME : what the steps print from here on goes to NAME in the build root.
open_log() {
  LOG=$BUILD_ROOT/$1
  mkdir -p "$(dirname "$LOG")"
  : >"$LOG"
}

# install_packages SECTION…
install_packages() {
  step "packages: $*"
  if [[ -n ${FNRUN_SKIP_PACKAGES:-} ]]; then
    step_ok "not looked at: FNRUN_SKIP_PACKAGES is set"
    return
  fi
  "$SOURCE/tools/setup/packages" "$@" >>"$LOG" 2>&1 ||
    step_failed "a package that the project needs is missing" || return
  step_ok "$(sed -n 's/^missing:/installed:/p; /^all [0-9]* packages/p' "$LOG" | tail -n 1)"
}

# unpack_files : what tests read of packages that nobody would want installed. Without them tests are
# skipped, and say so.
unpack_files() {
  local dir=$BUILD_ROOT/packages
  step "files of packages: $(shown "$dir")"
  if [[ -n ${FNRUN_SKIP_PACKAGES:-} || -n ${FNRUN_CONTAINER_PROFILES:-} ]]; then
    step_ok "not looked at: FNRUN_SKIP_PACKAGES or FNRUN_CONTAINER_PROFILES is set"
  elif "$SOURCE/tools/setup/packages" --unpack "$dir" files >>"$LOG" 2>&1; then
    export FNRUN_CONTAINER_PROFILES=$dir
    step_ok
  else
    step_ok "could not be downloaded (see $(shown "$LOG")); what needs them is skipped"
  fi
}

# install_node_packages : the caller of the Invoke API that Debian has no package of. Without it its
# test is skipped, and says so.
install_node_packages() {
  local dir=$BUILD_ROOT/callers
  step "packages of npm: $(shown "$dir")"
  if [[ -n ${FNRUN_SKIP_PACKAGES:-} || -n ${FNRUN_NODE_PACKAGES:-} ]]; then
    step_ok "not looked at: FNRUN_SKIP_PACKAGES or FNRUN_NODE_PACKAGES is set"
  elif "$SOURCE/tools/setup/node_packages" "$SOURCE/tests/e2e/callers" "$dir" >>"$LOG" 2>&1; then
    export FNRUN_NODE_PACKAGES=$dir
    step_ok
  else
    step_ok "could not be installed (see $(shown "$LOG")); what needs them is skipped"
  fi
}

# configure PRESET [cmake arguments…]
configure() {
  local preset=$1 dir=$BUILD_ROOT/$1 fresh=()
  shift
  step "configure $(shown "$dir")"
  # A cache that came with a moved or copied tree stops CMake; it can only be made anew.
  if [[ -f $dir/CMakeCache.txt ]] &&
    ! { grep -qxF "CMAKE_HOME_DIRECTORY:INTERNAL=$SOURCE" "$dir/CMakeCache.txt" &&
      grep -qxF "CMAKE_CACHEFILE_DIR:INTERNAL=$dir" "$dir/CMakeCache.txt"; }; then
    fresh=(--fresh)
  fi
  (cd "$SOURCE" && cmake --preset "$preset" -B "$dir" "${fresh[@]}" "$@") >>"$LOG" 2>&1 ||
    step_failed "CMake could not configure the preset '$preset'" || return
  step_ok
}

# build PRESET TARGET…
build() {
  local preset=$1 dir=$BUILD_ROOT/$1
  shift
  step "build $(shown "$dir"): $*"
  cmake --build "$dir" --parallel "$JOBS" --target "$@" >>"$LOG" 2>&1 ||
    step_failed "the build of the preset '$preset' failed" || return
  step_ok
}
