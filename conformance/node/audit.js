'use strict';

// An audit trail: what a record processor was told and did, one JSON object per line, one file per process.

const fs = require('node:fs');
const path = require('node:path');

const CHECKPOINT_EVERY = 100;

class Audit {
  constructor() {
    this.file = fs.openSync(path.join(process.env.JOURNAL_DIR, `${process.pid}.jsonl`), 'a');
  }

  write(event, facts = {}) {
    fs.writeSync(this.file, JSON.stringify({ event, ...facts }) + '\n');
  }

  record(record) {
    this.write('record', {
      number: Number(Buffer.from(record.data, 'base64').toString()),
      key: record.partitionKey,
      sequence: record.sequenceNumber,
      sub_sequence: record.subSequenceNumber,
      arrival: record.approximateArrivalTimestamp / 1000,
    });
  }
}

module.exports = { Audit, CHECKPOINT_EVERY };
