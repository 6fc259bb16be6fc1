# shellcheck shell=bash disable=SC2154
# OpenSearch 3.8, the complete minimal distribution: without its security plug-in, so neither TLS nor users.
#
# Never started beside Elasticsearch: what is tested with it is the difference between the two. A request may have 8 MB.

OPENSEARCH_VERSION=3.8.0
OPENSEARCH_HEAP="${STOCKFLOW_OPENSEARCH_HEAP:-768m}"

opensearch_unpacked() {
  need_unpacked "opensearch-$OPENSEARCH_VERSION" "org/opensearch/distribution/integ-test-zip/opensearch/$OPENSEARCH_VERSION/opensearch-$OPENSEARCH_VERSION.zip" \
    196c3cf4602c394f2e40e6174ccbf2a924eae37246f08fa6bbb6b75f9fd5ff1f "opensearch-$OPENSEARCH_VERSION"
}

opensearch_need() {
  command -v curl >/dev/null || apt_install curl || return 1
  need_java21 && opensearch_unpacked >/dev/null
}

opensearch_healthy() { curl -sSf -m 10 "http://127.0.0.1:$(port opensearch)/_cluster/health?wait_for_status=yellow&timeout=2s" >/dev/null; }

opensearch_prepare() {
  local home="$DIR/home" unpacked
  unpacked="$(opensearch_unpacked)" || return 1
  rm -rf "$home"
  cp -rl "$unpacked" "$home" 2>/dev/null || { rm -rf "$home"; cp -r "$unpacked" "$home"; } || return 1
  rm -rf "$DIR/config" "$DIR/data"
  cp -r "$home/config" "$DIR/config"
  # Not every Java has the module.
  sed -i '/jdk.incubator.vector/d' "$DIR/config/jvm.options"
  mkdir -p "$home/plugins" "$home/logs" "$DIR/data" "$DIR/logs" "$DIR/tmp" "$DIR/config/jvm.options.d"
  cat >"$DIR/config/opensearch.yml" <<CONF
cluster.name: stockflow-test
node.name: one
path.data: $DIR/data
path.logs: $DIR/logs
network.host: 127.0.0.1
http.port: $(port opensearch)
transport.port: $(port opensearch-transport)
discovery.type: single-node
http.max_content_length: 8mb
cluster.routing.allocation.disk.threshold_enabled: false
CONF
  own "$DIR/data" "$DIR/logs" "$DIR/tmp" "$DIR/config" "$home/logs"
  printf '%s\n' "$(linked_java)" >"$DIR/java-home"
}

opensearch_up() {
  need_java21 || return 1
  [ -s "$DIR/ready" ] || opensearch_prepare || return 1
  running opensearch ||
    spawn opensearch env -u JAVA_HOME HOME="$DIR/tmp" OPENSEARCH_TMPDIR="$DIR/tmp" OPENSEARCH_PATH_CONF="$DIR/config" OPENSEARCH_JAVA_HOME="$(cat "$DIR/java-home")" \
      OPENSEARCH_JAVA_OPTS="-Xms$OPENSEARCH_HEAP -Xmx$OPENSEARCH_HEAP" "$DIR/home/bin/opensearch"
  wait_for 120 opensearch opensearch_healthy && echo yes >"$DIR/ready"
}

opensearch_status() { running opensearch && opensearch_healthy; }
opensearch_down() { halt opensearch TERM 30; }
opensearch_kill() { halt opensearch KILL; }

opensearch_env() { printf '%s\n' "STOCKFLOW_TEST_ELASTIC_URL=http://127.0.0.1:$(port opensearch)"; }
