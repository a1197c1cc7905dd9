package k2.peer;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import java.io.IOException;
import java.math.BigDecimal;

/** A canonical trade, all its fields parsed; price and quantity are exact decimals. */
record Trade(
    String exchange,
    String symbol,
    BigDecimal price,
    BigDecimal quantity,
    long exchangeTimeNs,
    long sequence,
    String side) {
  private static final JsonFactory JSON = new JsonFactory();

  static Trade parse(byte[] value) throws IOException {
    String exchange = null;
    String symbol = null;
    BigDecimal price = null;
    BigDecimal quantity = null;
    long exchangeTimeNs = 0;
    long sequence = -1;
    String side = null;
    try (JsonParser parser = JSON.createParser(value)) {
      if (parser.nextToken() != JsonToken.START_OBJECT) {
        throw new IOException("expected an object");
      }
      while (parser.nextToken() == JsonToken.FIELD_NAME) {
        String name = parser.currentName();
        parser.nextToken();
        switch (name) {
          case "exchange" -> exchange = parser.getText();
          case "symbol" -> symbol = parser.getText();
          case "price" -> price = new BigDecimal(parser.getText());
          case "quantity" -> quantity = new BigDecimal(parser.getText());
          case "exchange_time_ns" -> exchangeTimeNs = parser.getLongValue();
          case "sequence" -> sequence = parser.getLongValue();
          case "side" -> side = parser.getText();
          default -> parser.skipChildren();
        }
      }
    }
    if (exchange == null || symbol == null || price == null || quantity == null || sequence < 0) {
      throw new IOException("a field is missing");
    }
    return new Trade(exchange, symbol, price, quantity, exchangeTimeNs, sequence, side);
  }
}
