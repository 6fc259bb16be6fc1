# shellcheck shell=bash disable=SC2154
# Apicurio Registry 3.3, whose path apis/ccompat/v7 speaks as Confluent's schema registry does. It keeps everything in memory.

REGISTRY_VERSION=3.3.3

registry_unpacked() {
  need_unpacked "apicurio-registry-$REGISTRY_VERSION" "io/apicurio/apicurio-registry-app/$REGISTRY_VERSION/apicurio-registry-app-$REGISTRY_VERSION-all.tar.gz" \
    8bc6751c76d963734224b01d5e7f84ccb3cb61c87d3bd77c36c35f10a5cbed63
}

registry_need() {
  command -v curl >/dev/null || apt_install curl || return 1
  need_java21 && registry_unpacked >/dev/null
}

registry_url() { printf 'http://127.0.0.1:%s/apis/ccompat/v7\n' "$(port registry)"; }
registry_answers() { curl -sSf -m 10 "$(registry_url)/subjects" >/dev/null; }

registry_up() {
  local unpacked
  need_java21 || return 1
  if [ ! -s "$DIR/ready" ]; then
    unpacked="$(registry_unpacked)" || return 1
    rm -rf "$DIR/home"
    cp -rl "$unpacked" "$DIR/home" 2>/dev/null || { rm -rf "$DIR/home"; cp -r "$unpacked" "$DIR/home"; } || return 1
    mkdir -p "$DIR/tmp"
    own "$DIR/tmp"
    printf '%s\n' "$(linked_java)" >"$DIR/java-home"
  fi
  running registry ||
    spawn registry env -C "$DIR/tmp" QUARKUS_HTTP_HOST=127.0.0.1 QUARKUS_HTTP_PORT="$(port registry)" \
      QUARKUS_MANAGEMENT_HOST=127.0.0.1 QUARKUS_MANAGEMENT_PORT="$(port registry-management)" \
      "$(cat "$DIR/java-home")/bin/java" -Xmx384m -Djava.io.tmpdir="$DIR/tmp" -jar "$DIR/home/quarkus-run.jar"
  wait_for 120 registry registry_answers && echo yes >"$DIR/ready"
}

registry_status() { running registry && registry_answers; }
registry_down() { halt registry; }
registry_kill() { halt registry KILL; }

registry_env() { printf '%s\n' "STOCKFLOW_TEST_REGISTRY=$(registry_url)"; }
