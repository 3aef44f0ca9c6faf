//! Bugs, each a small change in a file of a step. The simulation must find
//! them.

/// A bug.
pub struct Bug {
    /// The name of its copy of the step.
    pub name: &'static str,
    /// The step.
    pub step: u32,
    /// What is wrong.
    pub what: &'static str,
    /// The file.
    pub file: &'static str,
    /// What stands there, exactly once.
    pub search: &'static str,
    /// What stands there with the bug.
    pub replace: &'static str,
    /// Why no run can find it, if that is so.
    pub why_not: &'static str,
}

/// All bugs.
pub const BUGS: &[Bug] = &[
Bug { name: "forgets_half", step: 5, what: "the server forgets half a frame between two reads", file: "server.rs", search: "    input.drain(..used);", replace: "    input.clear();", why_not: "" },
Bug { name: "reads_once", step: 5, what: "the client takes one read for the whole reply", file: "client.rs", search: "if read.context(Unknown)? == 0 {", replace: "let n = read.context(Unknown)?;
        if n == 0 || frame::decode(&mut &input[..]) == Ok(None) {", why_not: "" },
Bug { name: "keeps_the_late", step: 5, what: "the client keeps a connection on which a reply is missing", file: "client.rs", search: r#"        let late = |_| anyhow!("no whole reply within {limit:.0?}");"#, replace: r#"        if reply.is_err() {
            self.kept = Some(stream);
            return Err(anyhow!("late").context(Unknown));
        }
        let late = |_| anyhow!("no whole reply within {limit:.0?}");"#, why_not: "" },
Bug { name: "new_deadline", step: 5, what: "each attempt gets a deadline of its own", file: "client.rs", search: "self.attempt(message, deadline).await", replace: "self.attempt(message, Instant::now() + self.limits.deadline).await", why_not: "" },
Bug { name: "no_cap", step: 5, what: "the waits double without a cap", file: "retry.rs", search: "limits.base.saturating_mul(factor).min(limits.cap)", replace: "limits.base.saturating_mul(factor)", why_not: "" },
Bug { name: "no_deadline_check", step: 5, what: "the client waits although the deadline comes first", file: "client.rs", search: "n == most || now + wait >= deadline", replace: "n == most", why_not: "" },
Bug { name: "forgets_unknown", step: 5, what: "a refusal makes the client forget an earlier unknown outcome", file: "client.rs", search: "Some(Unknown) => outcome = Unknown,", replace: "Some(Unknown) => {}", why_not: "" },
Bug { name: "byte_buys_time", step: 5, what: "any byte buys a new limit for the frame", file: "server.rs", search: "} else if replies > 0 || limit.1 == TooSlow::Idle {", replace: "} else {", why_not: "" },
Bug { name: "write_waits", step: 5, what: "a write may wait without a limit", file: "server.rs", search: "let taken = within(limit, stream.write(output)).await?;", replace: "let taken = Ok::<_, TooSlow>(stream.write(output).await)?;", why_not: "" },
Bug { name: "one_look", step: 5, what: "a limit gives up without a second look", file: "limits.rs", search: "timeout(SECOND_LOOK, operation).await.map_err(|_| too_slow)", replace: "Err(too_slow)", why_not: "only a process that was stopped needs the second look, and here none is" },
Bug { name: "no_pong", step: 6, what: "a PING gets no PONG", file: "connection.rs", search: "frame::encode(PONG, payload, &mut self.replies.output)?;", replace: "", why_not: "both ends ask, and to be asked is a sign of life, too" },
Bug { name: "pings_on", step: 6, what: "the heartbeat asks on, and never gives up", file: "heartbeat.rs", search: "if self.has_asked {", replace: "if false {", why_not: "" },
Bug { name: "stuck_write", step: 6, what: "a peer that sends may leave our write stuck", file: "connection.rs", search: "self.write_end.get_or_insert(now + self.limits.write);", replace: "", why_not: "" },
Bug { name: "write_all", step: 6, what: "`write_all` in a `select!`: what it had written is sent again", file: "connection.rs", search: "n = writer.write(output), if writes => self.wrote(n),", replace: "n = async { writer.write_all(output).await.map(|()| output.len()) }, if writes => self.wrote(n),", why_not: "" },
Bug { name: "new_number", step: 7, what: "an ADD is sent again under a new number", file: "client.rs", search: "self.attempt(request, deadline).await", replace: "self.attempt(match request {
                Request::Add(add) => Request::Add(Operation { seq: add.seq + 8 * u64::from(n - 1), ..add }),
                echo => echo,
            }, deadline).await", why_not: "" },
Bug { name: "any_total", step: 7, what: "the client takes the reply to any ADD", file: "client.rs", search: "Ok(is_ours.then_some(total))", replace: "Ok(Some(total))", why_not: "the client closes a connection on which it gave up, so it never sees the reply to another ADD" },
Bug { name: "applies_copies", step: 7, what: "the ledger applies a copy of an operation", file: "ledger.rs", search: ".find(|done| done.seq == seq)", replace: ".find(|done| done.seq == seq && done.amount != amount)", why_not: "" },
Bug { name: "early_answer", step: 7, what: "the answer leaves before the operation is in the journal", file: "journal.rs", search: "        if let Some(journal) = &mut journal", replace: "        for (reply, answer) in answers.drain(..) {
            let _ = reply.send(answer);
        }
        if let Some(journal) = &mut journal", why_not: "" },
Bug { name: "no_sync", step: 7, what: "the journal is written, and not synced", file: "journal.rs", search: "        self.file.sync_data()", replace: "        Ok(())", why_not: "" },
Bug { name: "only_totals", step: 7, what: "a restart brings back the totals, and not the numbers", file: "journal.rs", search: "ledger.apply(operation)?;", replace: "ledger.apply(Operation { seq: 1 << 32 | at as u64, ..operation })?;", why_not: "" },
Bug { name: "torn_tail", step: 7, what: "a torn record stays in the journal", file: "journal.rs", search: "file.set_len(good as u64)?;
        file.seek(SeekFrom::Start(good as u64))?;", replace: "file.seek(SeekFrom::Start(bytes.len() as u64))?;", why_not: "" },
Bug { name: "no_drain", step: 8, what: "the server stops without waiting for its connections", file: "drain.rs", search: "let _ = timeout(self.limits.drain, all).await;", replace: "let _ = all;", why_not: "" },
Bug { name: "no_grace", step: 8, what: "a request that crosses the GOAWAY is dropped", file: "connection.rs", search: "const GRACE: Duration = Duration::from_millis(300);", replace: "const GRACE: Duration = Duration::from_millis(0);", why_not: "" },
Bug { name: "no_queue", step: 8, what: "clients that wait for `accept` are reset", file: "drain.rs", search: "let _ = timeout(QUEUE, queue).await;", replace: "drop(queue);", why_not: "here the server accepts at the very moment when a client arrives" },
Bug { name: "ignores_goaway", step: 8, what: "the client asks again on a connection that ends", file: "client.rs", search: "stays = false;", replace: "{}", why_not: "" },
Bug { name: "long_drain", step: 8, what: "the stop has no limit", file: "drain.rs", search: "timeout(self.limits.drain, all).await", replace: "all.await", why_not: "" },
];
