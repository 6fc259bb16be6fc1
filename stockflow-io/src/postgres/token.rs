//! The fence and the token of a sink: one row for each sink and table in `stockflow_tokens`.

use stockflow_core::token::{EpochToken, Generation, SinkId};
use stockflow_core::{Error, ErrorClass, Origin, Result};

use super::connection::Session;
use super::error::Fault;
use super::migrate::{TOKENS, end};
use super::name::Located;

/// Who may write, and which epoch the table holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) generation: Generation,
    /// The handle that opened it last.
    pub(super) owner: i64,
    pub(super) token: Option<EpochToken>,
}

/// A table in the hands of one runner.
#[derive(Debug, Clone)]
pub(super) struct Ownership {
    pub(super) sink: SinkId,
    pub(super) generation: Generation,
    pub(super) owner: i64,
    pub(super) table: Located,
}

fn number(value: u64) -> Result<i64> {
    i64::try_from(value).map_err(|_| Error::internal(format!("{value} does not fit a bigint")))
}

impl Ownership {
    fn tokens(&self) -> String {
        self.table.beside(TOKENS).sql()
    }

    /// Reads the row and keeps others from changing it until the transaction ends.
    async fn locked(&self, session: &Session) -> std::result::Result<Option<Held>, Fault> {
        let sql = format!(
            "SELECT generation, owner, epoch, hash FROM {} WHERE sink = $1 AND table_name = $2 FOR UPDATE",
            self.tokens()
        );
        let row = session.query_opt(&sql, &[&self.sink.to_string(), &self.table.table]).await?;
        Ok(row.map(|row| {
            let unsigned = |value: i64| u64::try_from(value).unwrap_or_default();
            let (epoch, hash): (Option<i64>, Option<i64>) = (row.get(2), row.get(3));
            Held {
                generation: Generation(unsigned(row.get(0))),
                owner: row.get(1),
                token: epoch.zip(hash).map(|(epoch, hash)| EpochToken { epoch: unsigned(epoch), hash: unsigned(hash) }),
            }
        }))
    }

    pub(super) fn fenced_by(&self, newer: Generation) -> Error {
        Error::Fenced { pipeline: self.sink.pipeline.clone(), own: self.generation.0, newer: newer.0 }
    }

    /// Takes the table over; `again`: this very handle has held it before.
    ///
    /// Of two runners the newer generation may write, of two of one generation the one that came last. A handle that opens again
    /// although another one came in between is fenced.
    pub(super) async fn take(&self, session: &Session, again: bool, origin: &Origin) -> Result<Option<EpochToken>> {
        session.batch("BEGIN").await.map_err(|fault| fault.at("take over", origin))?;
        let outcome = self.take_within(session, again, origin).await;
        end(session, outcome, origin).await
    }

    async fn take_within(&self, session: &Session, again: bool, origin: &Origin) -> Result<Option<EpochToken>> {
        let at = |fault: Fault| fault.at("take over", origin);
        let generation = number(self.generation.0)?;
        let sql = format!(
            "INSERT INTO {} (sink, table_name, generation, owner) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
            self.tokens()
        );
        let sink = self.sink.to_string();
        session.execute(&sql, &[&sink, &self.table.table, &generation, &self.owner]).await.map_err(at)?;
        let held = self.locked(session).await.map_err(at)?;
        let held = held
            .ok_or_else(|| Error::refused(origin.clone(), ErrorClass::Transient, "its token was removed meanwhile"))?;
        if held.generation > self.generation || again && held.owner != self.owner {
            return Err(self.fenced_by(held.generation));
        }
        let sql = format!(
            "UPDATE {} SET generation = $3, owner = $4, updated_at = now() WHERE sink = $1 AND table_name = $2",
            self.tokens()
        );
        session.execute(&sql, &[&sink, &self.table.table, &generation, &self.owner]).await.map_err(at)?;
        Ok(held.token)
    }

    /// Whether the table is still ours; within a transaction it stays so until its end.
    pub(super) async fn check(&self, session: &Session, origin: &Origin) -> Result<Held> {
        let held = self.locked(session).await.map_err(|fault| fault.at("check the fence", origin))?;
        let held = held.ok_or_else(|| {
            let reason = format!("the row of sink `{}` in {TOKENS} was removed by others; run again", self.sink);
            Error::refused(origin.clone(), ErrorClass::Config, reason)
        })?;
        if held.owner == self.owner { Ok(held) } else { Err(self.fenced_by(held.generation)) }
    }

    /// Writes the token, within the transaction that writes the rows.
    pub(super) async fn write(&self, session: &Session, token: &EpochToken, origin: &Origin) -> Result<()> {
        let sql = format!(
            "UPDATE {} SET epoch = $3, hash = $4, updated_at = now() WHERE sink = $1 AND table_name = $2",
            self.tokens()
        );
        let (epoch, hash) = (number(token.epoch)?, number(token.hash)?);
        let done = session.execute(&sql, &[&self.sink.to_string(), &self.table.table, &epoch, &hash]).await;
        done.map(drop).map_err(|fault| fault.at("write the token", origin))
    }
}
