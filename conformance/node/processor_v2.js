'use strict';

// A record processor for the current interface of aws-kcl: a method for each way in which a shard ends.

const kcl = require('aws-kcl');

const { Auditor } = require('./auditor');

class RecordProcessor extends Auditor {
  leaseLost(input, done) {
    this.audit.write('lease_lost');
    done();
  }

  shardEnded(input, done) {
    this.audit.write('shard_ended');
    this.checkpoint(input.checkpointer, null, done);
  }
}

const recordProcessor = new RecordProcessor();
process.once('exit', () => recordProcessor.audit.write('end'));
kcl(recordProcessor).run();
