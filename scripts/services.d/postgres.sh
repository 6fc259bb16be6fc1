# shellcheck shell=bash disable=SC2154
# PostgreSQL 15 of Debian: TLS with a CA of its own, passwords by scram-sha-256, users by certificate.
#
#   postgres        superuser
#   stockflow       may create databases; owns the database `stockflow`
#   stockflow_cert  the same, by client certificate instead of a password
#   stockflow_read  may connect, and nothing else
#
# It keeps no promise over a power cut (fsync is off) unless STOCKFLOW_POSTGRES_FSYNC=on; a killed process loses nothing either way.

POSTGRES_PASSWORD=pg-test-secret

postgres_bin() { local bin; for bin in /usr/lib/postgresql/*/bin; do [ ! -x "$bin/initdb" ] || { printf '%s\n' "$bin"; return 0; }; done; return 1; }

postgres_need() {
  postgres_bin >/dev/null || apt_install postgresql-15 || apt_install postgresql || return 1
  command -v psql >/dev/null || apt_install postgresql-client
}

postgres_sql() {
  local port; port="$(port postgres)" || return 1
  PGPASSWORD="$POSTGRES_PASSWORD" PGCONNECT_TIMEOUT=5 PGSSLMODE=verify-full PGSSLROOTCERT="$DIR/ca.pem" \
    psql "host=127.0.0.1 port=$port user=postgres dbname=postgres" -X -q -v ON_ERROR_STOP=1 -At "$@"
}

postgres_up() {
  local bin data="$DIR/data" port attempt
  bin="$(postgres_bin)" || return 1
  if [ ! -s "$DIR/ready" ]; then
    rm -rf "$data"
    certificate_authority ca
    certificate_authority other-ca
    certificate ca server localhost
    certificate ca client stockflow_cert
    certificate ca expired localhost -1
    printf '%s\n' "$POSTGRES_PASSWORD" >"$DIR/password"
    own "$DIR"
    as_service env LC_ALL=C.UTF-8 "$bin/initdb" -D "$data" -U postgres -A scram-sha-256 --pwfile="$DIR/password" -E UTF8 --no-locale --no-sync >"$DIR/initdb.log" 2>&1 ||
      { cat "$DIR/initdb.log" >&2; return 1; }
    cat >"$data/pg_hba.conf" <<HBA
local   all all                          scram-sha-256
hostssl all stockflow_cert 127.0.0.1/32  cert
host    all all            127.0.0.1/32  scram-sha-256
HBA
    cat >>"$data/postgresql.conf" <<CONF
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
max_connections = 200
shared_buffers = 256MB
max_wal_size = 2GB
wal_level = minimal
max_wal_senders = 0
fsync = ${STOCKFLOW_POSTGRES_FSYNC:-off}
password_encryption = scram-sha-256
ssl = on
ssl_ca_file = '$DIR/ca.pem'
ssl_cert_file = '$DIR/server.pem'
ssl_key_file = '$DIR/server.key'
CONF
  fi
  for attempt in 1 2 3; do
    port="$(port postgres)"
    # After SIGKILL the old children need a moment to go before a new server is let in.
    for _ in $(seq 50); do
      spawn postgres env LC_ALL=C.UTF-8 "$bin/postgres" -D "$data" -p "$port"
      sleep 0.3
      ! running postgres || break
      grep -q 'still in use\|lock file' <(tail -n 5 "$DIR/postgres.log") || break
    done
    if wait_for 30 postgres postgres_sql -c 'select 1'; then break; fi
    [ "$attempt" != 3 ] && [ ! -s "$DIR/ready" ] && [ -z "${STOCKFLOW_POSTGRES_PORT:-}" ] || return 1
    halt postgres
    rm -f "$DIR/postgres.port"
  done
  [ ! -s "$DIR/ready" ] || return 0
  postgres_sql >/dev/null <<SQL || return 1
create role stockflow login createdb password '$POSTGRES_PASSWORD';
create role stockflow_cert login createdb;
create role stockflow_read login password '$POSTGRES_PASSWORD';
create database stockflow owner stockflow;
SQL
  echo yes >"$DIR/ready"
}

postgres_status() { running postgres && postgres_sql -c 'select 1' >/dev/null; }
# SIGINT is its fast shutdown: clients are cut off.
postgres_down() { halt postgres INT; }
postgres_kill() { halt postgres KILL; }

postgres_env() {
  local port; port="$(port postgres)"
  cat <<ENV
STOCKFLOW_TEST_POSTGRES_URL=postgres://stockflow@127.0.0.1:$port/stockflow
STOCKFLOW_TEST_POSTGRES_PASSWORD=$POSTGRES_PASSWORD
STOCKFLOW_TEST_POSTGRES_CA=$DIR/ca.pem
STOCKFLOW_TEST_POSTGRES_OTHER_CA=$DIR/other-ca.pem
STOCKFLOW_TEST_POSTGRES_CLIENT_CERT=$DIR/client.pem
STOCKFLOW_TEST_POSTGRES_CLIENT_KEY=$DIR/client.key
STOCKFLOW_TEST_POSTGRES_EXPIRED_CERT=$DIR/expired.pem
STOCKFLOW_TEST_POSTGRES_EXPIRED_KEY=$DIR/expired.key
ENV
}
