# shellcheck shell=bash disable=SC2154
# Apache Kafka 4.1 in KRaft mode, from the jars of Maven Central: one broker, or three with STOCKFLOW_KAFKA_BROKERS=3, of which
# STOCKFLOW_KAFKA_KILL=1 lets `kill` end the first alone.
#
# Two listeners: PLAINTEXT (superuser, for the tests' own set-up) and SASL_SSL with SCRAM-SHA-256 and -512, whose users have rules:
#
#   stockflow  may do anything with topics, groups and transactional ids
#   reader     may read topics and nothing else
#   stranger   may log in, and nothing else
#
# Replication is as wide as there are brokers, at most 3.

KAFKA_PASSWORD=kafka-test-secret

kafka_brokers() { seq "${STOCKFLOW_KAFKA_BROKERS:-1}"; }

kafka_need() { need_java && need_jars "$ROOT/scripts/kafka-jars.txt" >/dev/null; }

# kafka_java MEMORY ARGUMENTS...: Java with Kafka's jars.
kafka_java() {
  local memory="$1"; shift
  as_service "$JAVA_HOME/bin/java" "-Xmx$memory" -Dlog4j2.configurationFile="$DIR/log4j2.properties" -cp "$DIR/lib/*" "$@"
}

kafka_bootstrap() { local id all=(); for id in $(kafka_brokers); do all+=("127.0.0.1:$(port "kafka-$1-$id")"); done; (IFS=,; printf '%s\n' "${all[*]}"); }

kafka_voters() { local id all=(); for id in $(kafka_brokers); do all+=("$id@127.0.0.1:$(port "kafka-controller-$id")"); done; (IFS=,; printf '%s\n' "${all[*]}"); }

kafka_properties() {
  local id="$1" plain tls controller replicas
  plain="$(port "kafka-plain-$id")"; tls="$(port "kafka-tls-$id")"; controller="$(port "kafka-controller-$id")"
  replicas="$(kafka_brokers | tail -1)"; [ "$replicas" -le 3 ] || replicas=3
  cat <<CONF
process.roles=broker,controller
node.id=$id
controller.quorum.voters=$(kafka_voters)
listeners=PLAINTEXT://127.0.0.1:$plain,SASL_SSL://127.0.0.1:$tls,CONTROLLER://127.0.0.1:$controller
advertised.listeners=PLAINTEXT://127.0.0.1:$plain,SASL_SSL://127.0.0.1:$tls
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
log.dirs=$DIR/data-$id
sasl.enabled.mechanisms=SCRAM-SHA-256,SCRAM-SHA-512
listener.name.sasl_ssl.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
ssl.keystore.type=PEM
ssl.keystore.location=$DIR/broker.keystore.pem
ssl.truststore.type=PEM
ssl.truststore.location=$DIR/ca.pem
listener.name.sasl_ssl.ssl.client.auth=requested
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS
auto.create.topics.enable=false
default.replication.factor=$replicas
offsets.topic.replication.factor=$replicas
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=$replicas
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
group.initial.rebalance.delay.ms=0
log.retention.check.interval.ms=1000
log.initial.task.delay.ms=1000
log.cleaner.backoff.ms=1000
num.network.threads=2
num.io.threads=4
CONF
}

kafka_prepare() {
  local id cluster scram=() user mechanism jars
  # The cache may lie in a home that the unprivileged user cannot enter.
  jars="$(jars_folder "$ROOT/scripts/kafka-jars.txt")"
  rm -rf "$DIR/lib"
  cp -rl "$jars" "$DIR/lib" 2>/dev/null || { rm -rf "$DIR/lib"; cp -r "$jars" "$DIR/lib"; } || return 1
  certificate_authority ca
  certificate_authority other-ca
  certificate ca broker localhost
  certificate ca client stockflow
  certificate ca expired localhost -1
  cat "$DIR/broker.key" "$DIR/broker.pem" "$DIR/ca.pem" >"$DIR/broker.keystore.pem"
  cat >"$DIR/log4j2.properties" <<CONF
appenders = console
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d %p %c{1}: %m%n
rootLogger.level = warn
rootLogger.appenderRef.console.ref = console
CONF
  for user in stockflow reader stranger; do
    for mechanism in SCRAM-SHA-256 SCRAM-SHA-512; do scram+=(--add-scram "$mechanism=[name=$user,password=$KAFKA_PASSWORD]"); done
  done
  for id in $(kafka_brokers); do kafka_properties "$id" >"$DIR/server-$id.properties"; rm -rf "$DIR/data-$id"; mkdir -p "$DIR/data-$id"; done
  own "$DIR"/data-* "$DIR"/*.pem "$DIR"/*.key
  cluster="$(head -c 16 /dev/urandom | base64 | tr '+/' '-_' | tr -d '=')"
  for id in $(kafka_brokers); do
    kafka_java 256m kafka.tools.StorageTool format -t "$cluster" -c "$DIR/server-$id.properties" "${scram[@]}" >>"$DIR/format.log" 2>&1 ||
      { cat "$DIR/format.log" >&2; return 1; }
  done
}

# Whether all brokers answer a request for their versions and features, and know each other as one cluster.
kafka_answers() {
  local id
  for id in $(kafka_brokers); do
    running "kafka-$id" || return 1
    kafka_ask "$(port "kafka-plain-$id")" || return 1
  done
}

# An ApiVersions request (key 18, version 0, correlation 1, client `up`) and the answer's correlation and error code: the broker's own protocol.
kafka_ask() {
  local answer
  answer="$( (exec 3<>"/dev/tcp/127.0.0.1/$1" && printf '\0\0\0\014\0\022\0\0\0\0\0\001\0\002up' >&3 && timeout 2 head -c 10 <&3 | od -An -v -tx1 | tr -d ' \n') 2>/dev/null)"
  [ "${answer:8}" = 000000010000 ]
}

kafka_up() {
  local id
  need_java || return 1
  [ -s "$DIR/ready" ] || kafka_prepare || return 1
  for id in $(kafka_brokers); do
    running "kafka-$id" ||
      spawn "kafka-$id" "$JAVA_HOME/bin/java" -Xms384m -Xmx512m -XX:+UseG1GC -Djava.awt.headless=true -Dlog4j2.configurationFile="$DIR/log4j2.properties" \
        -Djava.io.tmpdir="$DIR/data-$id" -cp "$DIR/lib/*" kafka.Kafka "$DIR/server-$id.properties"
  done
  for id in $(kafka_brokers); do wait_for 180 "kafka-$id" kafka_ask "$(port "kafka-plain-$id")" || return 1; done
  [ ! -s "$DIR/ready" ] || return 0
  kafka_rules && echo yes >"$DIR/ready"
}

kafka_rules() {
  local acl=(kafka_java 256m org.apache.kafka.tools.AclCommand --bootstrap-server "$(kafka_bootstrap plain)" --add --force)
  { "${acl[@]}" --allow-principal User:stockflow --operation All --topic '*' --group '*' --transactional-id '*' --cluster &&
    "${acl[@]}" --allow-principal User:reader --operation Read --operation Describe --topic '*' --group '*'; } >"$DIR/rules.log" 2>&1 ||
    { cat "$DIR/rules.log" >&2; return 1; }
}

kafka_status() { kafka_answers; }
kafka_down() { local id; for id in $(kafka_brokers); do halt "kafka-$id" TERM 10; done; }
kafka_kill() { local id; for id in ${STOCKFLOW_KAFKA_KILL:-$(kafka_brokers)}; do halt "kafka-$id" KILL; done; }

kafka_env() {
  cat <<ENV
STOCKFLOW_TEST_KAFKA=$(kafka_bootstrap plain)
STOCKFLOW_TEST_KAFKA_TLS=$(kafka_bootstrap tls)
STOCKFLOW_TEST_KAFKA_PASSWORD=$KAFKA_PASSWORD
STOCKFLOW_TEST_KAFKA_CA=$DIR/ca.pem
STOCKFLOW_TEST_KAFKA_OTHER_CA=$DIR/other-ca.pem
STOCKFLOW_TEST_KAFKA_CLIENT_CERT=$DIR/client.pem
STOCKFLOW_TEST_KAFKA_CLIENT_KEY=$DIR/client.key
STOCKFLOW_TEST_KAFKA_EXPIRED_CERT=$DIR/expired.pem
STOCKFLOW_TEST_KAFKA_EXPIRED_KEY=$DIR/expired.key
ENV
}
