package k2.peer;

import java.io.IOException;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueStore;

/** Forwards a trade unless its number was seen before; a record that is no trade ends the task. */
final class Sequencer implements Processor<String, byte[], String, byte[]> {
  private ProcessorContext<String, byte[]> context;
  private KeyValueStore<String, byte[]> scopes;

  @Override
  public void init(ProcessorContext<String, byte[]> given) {
    context = given;
    scopes = given.getStateStore(Peer.STORE);
  }

  @Override
  public void process(Record<String, byte[]> record) {
    Trade trade;
    try {
      trade = Trade.parse(record.value());
    } catch (IOException | NumberFormatException error) {
      throw new IllegalArgumentException("not a canonical trade", error);
    }
    String scope = trade.exchange() + ':' + trade.symbol();
    byte[] after = Scope.accepting(scopes.get(scope), trade.sequence());
    if (after != null) {
      scopes.put(scope, after);
      context.forward(record);
    }
  }
}
