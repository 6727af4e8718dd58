'use strict';

// A record processor for the first interface of aws-kcl: one `shutdown` with a reason.

const kcl = require('aws-kcl');

const { Auditor } = require('./auditor');

// What the first interface calls by its reason, in the words of the audit trail.
const SHUTDOWN_EVENTS = { ZOMBIE: 'lease_lost', TERMINATE: 'shard_ended' };

class RecordProcessor extends Auditor {
  shutdown(input, done) {
    this.audit.write(SHUTDOWN_EVENTS[input.reason]);
    if (input.reason === 'TERMINATE') {
      this.checkpoint(input.checkpointer, null, done);
    } else {
      done();
    }
  }
}

const recordProcessor = new RecordProcessor();
process.once('exit', () => recordProcessor.audit.write('end'));
kcl(recordProcessor).run();
