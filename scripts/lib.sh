# shellcheck shell=bash
# What scripts/quickstart and scripts/test share. Sourced, never run.

set -euo pipefail
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$top"

# 512 pages of 2 MiB: two programs with a packet pool each, as the memif tests start them.
readonly HUGE_PAGES_WANTED=512

if [ -t 1 ] && [ -t 2 ]; then bold=$'\e[1m' plain=$'\e[0m'; else bold='' plain=''; fi
say() { printf '%s==>%s %s\n' "$bold" "$plain" "$*"; }
detail() { printf '    %s\n' "$*"; }
die() {
  printf '%s: %s\n' "${0##*/}" "$*" >&2
  exit 1
}

# --- Who we are -------------------------------------------------------------

is_root() { [ "$(id -u)" -eq 0 ]; }
can_be_root() { is_root || sudo -n true 2>/dev/null; }

# Runs a command as root, never asking for a password.
as_root() {
  if is_root; then "$@"; else sudo -n "$@"; fi
}

# Under `sudo scripts/...` cargo belongs to the user who called sudo. Use that
# user's toolchain, and hand back at the end what root made in that user's folders.
borrow_from_sudo_user() {
  is_root && [ -n "${SUDO_USER:-}" ] && [ "$SUDO_USER" != root ] || return 0
  local home
  home=$(getent passwd "$SUDO_USER" | cut -d: -f6)
  if [ -x "$home/.cargo/bin/cargo" ] && ! command -v cargo >/dev/null; then
    export CARGO_HOME=$home/.cargo RUSTUP_HOME=$home/.rustup PATH=$home/.cargo/bin:$PATH
  fi
}
hand_back() {
  is_root && [ -n "${SUDO_USER:-}" ] && [ "$(stat -c %U "$top")" = "$SUDO_USER" ] || return 0
  local folder
  for folder in "${CARGO_HOME:-}" "${RUSTUP_HOME:-}" "${CARGO_TARGET_DIR:-target}" Cargo.lock; do
    [ -e "$folder" ] && find "$folder" -user root -exec chown -h "$SUDO_USER:" {} +
  done
  return 0
}

# --- What has to be installed -------------------------------------------------

# install_debian PACKAGE...: installs those that are missing; fails when some stay missing.
install_debian() {
  local missing=() package
  for package in "$@"; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
  done
  if [ ${#missing[@]} -eq 0 ]; then
    detail "Debian packages: all there"
    return 0
  fi
  command -v apt-get >/dev/null || {
    detail "no apt-get here; install what corresponds to: ${missing[*]}"
    return 1
  }
  can_be_root || {
    detail "not root, and sudo asks for a password; run: sudo apt-get install ${missing[*]}"
    return 1
  }
  say "Installing Debian packages: ${missing[*]}"
  as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y update >/dev/null ||
    detail "apt-get update failed; trying with the lists that are there"
  as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get -q -y install --no-install-recommends "${missing[@]}" </dev/null >/dev/null
}

# The toolchain that rust-toolchain.toml names comes by itself once rustup is there.
install_rust() {
  borrow_from_sudo_user
  [ -x "${HOME:-/}/.cargo/bin/cargo" ] && PATH=$HOME/.cargo/bin:$PATH
  if ! command -v cargo >/dev/null; then
    say "Installing Rust for $(id -un) with rustup (no cargo was found)"
    curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs |
      sh -s -- -y --profile minimal --default-toolchain none >/dev/null 2>&1 ||
      die "Rust could not be installed; do it as https://rustup.rs says, then run this again"
    PATH=${CARGO_HOME:-$HOME/.cargo}/bin:$PATH
  fi
  local version
  version=$(cargo --version) || die "cargo does not start; rust-toolchain.toml names the toolchain that is needed"
  detail "Rust: $version"
}

# --- Huge pages -------------------------------------------------------------------

huge_pages_free() { awk '/^HugePages_Free:/ {print $2}' /proc/meminfo; }

# Reserves 2 MiB pages when few are free. Without any, DPDK falls back to
# ordinary pages: slower, but everything works.
reserve_huge_pages() {
  local knob=/proc/sys/vm/nr_hugepages free total available wanted got
  free=$(huge_pages_free)
  if [ "${free:-0}" -ge "$HUGE_PAGES_WANTED" ]; then
    detail "Huge pages: $free free, enough"
    return 0
  fi
  available=$(awk '/^MemAvailable:/ {print int($2 / 1024)}' /proc/meminfo)
  wanted=$HUGE_PAGES_WANTED
  # Never more than a quarter of the memory that is available (2 MiB a page).
  [ $((wanted * 2)) -le $((available / 4)) ] || wanted=$((available / 8))
  if [ "${free:-0}" -ge "$wanted" ]; then
    detail "Huge pages: $free free, and memory for no more"
    return 0
  fi
  total=$(cat "$knob" 2>/dev/null || echo 0)
  if ! can_be_root || ! echo $((total + wanted - free)) | as_root tee "$knob" >/dev/null 2>&1; then
    detail "Huge pages: $free free, and no right to reserve more; ordinary pages will do, slower"
    return 0
  fi
  got=$(huge_pages_free)
  detail "Huge pages: $wanted of 2 MiB asked for, $got free now (give them back: echo $total | sudo tee $knob)"
}

# shellcheck disable=SC2034 # used by those who source this
readonly BUILD_PACKAGES=(build-essential ca-certificates clang curl dpdk iproute2 libclang-dev libdpdk-dev pkg-config)
# What scripts/test needs as well: the foreign peers, the tools that prepare their side of a wire, and
# what counts instructions.
# shellcheck disable=SC2034
readonly TEST_PACKAGES=(ethtool iputils-ping netcat-openbsd procps python3 shellcheck tcpdump util-linux valgrind wrk)
