package conformance;

import java.io.FileOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;

/**
 * What a worker's processors saw, kept outside the process: one line per record, and lines with a leading {@code #} for the
 * rest of a processor's life. A batch is one write, made before its checkpoint, so that a kill loses nothing that counts.
 */
public final class Journal {
    private final FileOutputStream file;

    public Journal(Path path) {
        try {
            file = new FileOutputStream(path.toFile(), true);
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
    }

    /** The lines of one batch. */
    public static final class Lines {
        private final StringBuilder text = new StringBuilder();

        public void record(String shard, String sequence, long subSequence, String number, String partitionKey) {
            text.append(shard).append(',').append(sequence).append(',').append(subSequence).append(',').append(number);
            text.append(',').append(partitionKey).append(',').append(System.currentTimeMillis()).append('\n');
        }
    }

    public void write(Lines lines) {
        append(lines.text.toString());
    }

    public void event(String name, String shard, String sequence, long subSequence) {
        append("#" + name + ',' + shard + ',' + sequence + ',' + subSequence + ',' + System.currentTimeMillis() + '\n');
    }

    public void event(String name, String shard) {
        event(name, shard, "", 0);
    }

    private synchronized void append(String text) {
        try {
            file.write(text.getBytes(StandardCharsets.UTF_8));
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
    }
}
