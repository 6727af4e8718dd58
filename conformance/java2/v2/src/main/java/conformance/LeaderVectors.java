package conformance;

import java.lang.reflect.Constructor;
import java.lang.reflect.Proxy;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Random;
import java.util.UUID;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.function.IntFunction;
import java.util.stream.IntStream;
import software.amazon.kinesis.coordinator.LeaderDecider;
import software.amazon.kinesis.leases.Lease;
import software.amazon.kinesis.leases.LeaseRefresher;

/**
 * Prints whom a KCL 2.x fleet takes as leader, for many sets of worker ids: the leader, a tab, the sorted ids with commas.
 * The answer is computed from the JDK's shuffle, and asked of the KCL's own decider; they must agree.
 */
public final class LeaderVectors {
    private static final long SEED = 1947;
    private static final String DECIDER = "software.amazon.kinesis.coordinator.DeterministicShuffleShardSyncLeaderDecider";

    public static void main(String[] args) throws Exception {
        StringBuilder text = new StringBuilder();
        int[] sizes = IntStream.concat(IntStream.rangeClosed(1, 12), IntStream.of(16, 20, 33, 64, 100)).toArray();
        for (int size : sizes) {
            append(text, ids(size, n -> "worker-" + n));
        }
        for (int size : new int[] {2, 3, 4, 7, 12, 20}) {
            append(text, ids(size, n -> UUID.nameUUIDFromBytes(("w" + n).getBytes(StandardCharsets.UTF_8)).toString()));
        }
        for (int size : new int[] {2, 5, 9}) {
            append(text, ids(size, n -> "10.0.0." + n + ":" + new UUID(0x1947L, n)));
        }
        // Order is by UTF-16 code units: the surrogates of U+1F98A sort before U+FB01 and U+FF5E, unlike its code point.
        append(text, List.of("\uFF5E", "\uD83E\uDD8A"));
        append(text, List.of("w\uFB01", "w\uD83E\uDD8A", "wz"));
        append(text, List.of("w\uFF5E", "w\uD83D\uDE00", "w\u00E9", "w", "W", "\u00E9t\u00E9", "worker \u0440\u0430\u0437"));
        append(text, List.of("a", "A", "b", "B", "_", "-", "0", "aa", "a-1"));
        append(text, List.of("worker-\u4E00", "worker-\u4E8C", "worker-\u4E09", "worker-\uD840\uDC00", "worker-\uF900"));
        System.out.write(text.toString().getBytes(StandardCharsets.UTF_8));
        System.out.flush();
    }

    private static List<String> ids(int size, IntFunction<String> name) {
        return IntStream.range(0, size).mapToObj(name).toList();
    }

    private static void append(StringBuilder text, List<String> ids) throws Exception {
        List<String> sorted = ids.stream().sorted().toList();
        List<String> shuffled = new ArrayList<>(sorted);
        Collections.shuffle(shuffled, new Random(SEED));
        String leader = shuffled.get(0);
        List<String> elected = electedByTheLibrary(sorted);
        if (!elected.equals(List.of(leader))) {
            throw new AssertionError("of " + sorted + " the library elects " + elected + ", the shuffle " + leader);
        }
        text.append(leader).append('\t').append(String.join(",", sorted)).append('\n');
    }

    /** Those of the ids that think of themselves as leader, when each owns two leases. */
    private static List<String> electedByTheLibrary(List<String> ids) throws Exception {
        List<Lease> leases = new ArrayList<>();
        for (int round = 0; round < 2; round++) {
            for (String id : ids) {
                Lease lease = new Lease();
                lease.leaseKey("shard-" + leases.size());
                lease.leaseOwner(id);
                leases.add(0, lease);
            }
        }
        LeaseRefresher refresher = (LeaseRefresher) Proxy.newProxyInstance(
                LeaderVectors.class.getClassLoader(), new Class<?>[] {LeaseRefresher.class}, (proxy, method, arguments) -> {
                    if (method.getName().equals("listLeases")) {
                        return leases;
                    }
                    throw new UnsupportedOperationException(method.getName());
                });
        ScheduledExecutorService timer = Executors.newSingleThreadScheduledExecutor();
        try {
            Constructor<?> constructor = Class.forName(DECIDER)
                    .getDeclaredConstructor(LeaseRefresher.class, ScheduledExecutorService.class, int.class);
            constructor.setAccessible(true);
            LeaderDecider decider = (LeaderDecider) constructor.newInstance(refresher, timer, 1);
            return ids.stream().filter(decider::isLeader).toList();
        } finally {
            timer.shutdownNow();
        }
    }
}
