'use strict';

// What the record processors of both interfaces of aws-kcl share: they write down every record, and checkpoint every so
// many.

const { Audit, CHECKPOINT_EVERY } = require('./audit');

class Auditor {
  constructor() {
    this.audit = new Audit();
    this.seen = 0;
  }

  initialize(input, done) {
    this.audit.write('initialize', {
      shard: input.shardId,
      sequence: input.sequenceNumber,
      sub_sequence: input.subSequenceNumber,
    });
    done();
  }

  processRecords(input, done) {
    this.audit.write('batch', { millis_behind_latest: input.millisBehindLatest });
    this.processFrom(0, input, done);
  }

  // One checkpoint at a time: the rest of the batch waits for it.
  processFrom(start, { records, checkpointer }, done) {
    for (let at = start; at < records.length; at += 1) {
      this.audit.record(records[at]);
      this.seen += 1;
      if (this.seen % CHECKPOINT_EVERY === 0) {
        const { sequenceNumber } = records[at];
        this.checkpoint(checkpointer, sequenceNumber, () => this.processFrom(at + 1, { records, checkpointer }, done));
        return;
      }
    }
    done();
  }

  checkpoint(checkpointer, sequence, done) {
    this.audit.write('checkpoint', { sequence });
    checkpointer.checkpoint(sequence, (error) => {
      if (!error) this.audit.write('checkpointed', { sequence });
      done();
    });
  }

  shutdownRequested(input, done) {
    this.audit.write('shutdown_requested');
    this.checkpoint(input.checkpointer, null, done);
  }
}

module.exports = { Auditor };
