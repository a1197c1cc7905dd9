package k2.peer;

import java.nio.ByteBuffer;
import java.util.Arrays;

/**
 * What is known of a symbol's numbers, as the bytes of its row: the highest number, then the open
 * gaps as pairs of first and last number, in rising order. All are longs.
 */
final class Scope {
  /** Open gaps kept of a symbol; the oldest is forgotten first, and what fills it is a duplicate. */
  private static final int MAX_GAPS = 8;

  private Scope() {}

  /** The state once this number is accepted; null: it was seen before. */
  static byte[] accepting(byte[] before, long number) {
    if (before == null) {
      return ByteBuffer.allocate(Long.BYTES).putLong(number).array();
    }
    ByteBuffer state = ByteBuffer.wrap(before);
    long highest = state.getLong(0);
    if (number == highest + 1) {
      // The row may be in a cache: it is never changed in place.
      byte[] after = before.clone();
      ByteBuffer.wrap(after).putLong(0, number);
      return after;
    }
    return number > highest ? opening(before, highest, number) : filling(before, state, number);
  }

  private static byte[] opening(byte[] before, long highest, long number) {
    int kept = Math.min(before.length - Long.BYTES, (MAX_GAPS - 1) * 2 * Long.BYTES);
    return ByteBuffer.allocate(3 * Long.BYTES + kept)
        .putLong(number)
        .put(before, before.length - kept, kept)
        .putLong(highest + 1)
        .putLong(number - 1)
        .array();
  }

  private static byte[] filling(byte[] before, ByteBuffer state, long number) {
    for (int at = Long.BYTES; at < before.length; at += 2 * Long.BYTES) {
      long first = state.getLong(at);
      long last = state.getLong(at + Long.BYTES);
      if (first <= number && number <= last) {
        ByteBuffer after = ByteBuffer.allocate(before.length + 2 * Long.BYTES);
        after.put(before, 0, at);
        if (first < number) {
          after.putLong(first).putLong(number - 1);
        }
        if (number < last) {
          after.putLong(number + 1).putLong(last);
        }
        after.put(before, at + 2 * Long.BYTES, before.length - at - 2 * Long.BYTES);
        return Arrays.copyOf(after.array(), after.position());
      }
    }
    return null;
  }
}
