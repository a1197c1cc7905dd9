-- One statement per line. Each gives what plain DuckDB gives over a full copy.
SELECT * FROM trades WHERE exchange_time_ns >= {T0} ORDER BY ALL
SELECT * FROM trades WHERE exchange_time_ns >= {T0}
SELECT count(*) FROM trades WHERE exchange_time_ns >= {T0}
SELECT symbol, count(*) AS n FROM trades WHERE exchange_time_ns >= {T0} GROUP BY symbol ORDER BY symbol
SELECT symbol, sum(price * quantity) AS v FROM trades WHERE exchange_time_ns >= {T0} GROUP BY 1 ORDER BY 1
SELECT min(price), max(price), avg(price) FROM trades WHERE exchange_time_ns >= {T0} AND exchange_time_ns < {T0+8000}
SELECT price FROM trades WHERE exchange_time_ns >= {T0} AND symbol = 'A' ORDER BY price DESC, log_row LIMIT 3
SELECT price FROM trades WHERE exchange_time_ns >= {T0} AND symbol IN ('A', 'C') ORDER BY ALL
SELECT price FROM trades WHERE exchange_time_ns >= {T0} AND symbol IN ('A', 'nobody') ORDER BY ALL
SELECT price FROM trades WHERE exchange_time_ns >= {T0} AND symbol = 'nobody'
SELECT price FROM trades WHERE exchange_time_ns >= {T0} AND (symbol = 'A' OR symbol = 'B') ORDER BY ALL
SELECT price FROM trades WHERE exchange_time_ns >= {T0} AND NOT symbol = 'A' ORDER BY ALL
SELECT symbol FROM trades WHERE exchange_time_ns >= {T0} AND symbol > 'A' ORDER BY ALL
SELECT log_offset FROM trades WHERE {T0+3000} < exchange_time_ns ORDER BY ALL
SELECT log_offset FROM trades WHERE {T0+3000} <= exchange_time_ns ORDER BY ALL
SELECT log_offset FROM trades WHERE exchange_time_ns = {T0+3001} ORDER BY ALL
SELECT symbol FROM trades WHERE exchange_time_ns BETWEEN {T0+1} AND {T0+4000} ORDER BY 1
SELECT symbol FROM trades WHERE exchange_time_ns IN ({T0+1}, {T0+4001}) ORDER BY ALL
SELECT log_row FROM trades WHERE exchange_time >= make_timestamptz(1700000000000003) ORDER BY 1
SELECT log_row FROM trades WHERE exchange_time > make_timestamptz(1700000000000003) ORDER BY 1
SELECT log_row FROM trades WHERE exchange_time >= '2023-11-14T22:13:20.000004Z' ORDER BY 1
SELECT count(*) FROM trades WHERE exchange_time > TIMESTAMPTZ '2023-11-14 22:13:20+00' AND exchange_time <= TIMESTAMPTZ '2023-11-14 22:13:20+00' + INTERVAL 5 MICROSECONDS
SELECT count(*) FROM trades WHERE exchange_time >= DATE '2023-11-14'
SELECT t.symbol FROM trades AS t WHERE t.exchange_time_ns >= {T0+2000} ORDER BY ALL
SELECT TRADES.Symbol FROM Trades WHERE Exchange_Time_NS >= {T0+2000} ORDER BY ALL
WITH x AS (SELECT * FROM trades WHERE exchange_time_ns >= {T0}) SELECT symbol, count(*) n FROM x GROUP BY 1 ORDER BY 1
WITH trades AS (SELECT 1 AS a) SELECT * FROM trades
SELECT count(*) FROM (SELECT * FROM trades WHERE exchange_time_ns >= {T0}) s WHERE s.symbol = 'A'
SELECT a.log_row, b.log_row AS other FROM trades a JOIN trades b USING (symbol, log_offset) WHERE a.exchange_time_ns >= {T0} AND b.exchange_time_ns >= {T0+4000} ORDER BY ALL
SELECT a.log_row, b.log_row AS other FROM trades a JOIN trades b ON a.symbol = b.symbol AND b.exchange_time_ns >= {T0} WHERE a.exchange_time_ns >= {T0+9000} ORDER BY ALL
SELECT a.symbol, b.price FROM trades a LEFT JOIN (SELECT * FROM trades WHERE symbol = 'A' AND exchange_time_ns >= {T0}) b ON a.message_id = b.message_id WHERE a.exchange_time_ns >= {T0} ORDER BY ALL
SELECT a.log_row, b.price FROM trades a FULL JOIN trades b ON a.message_id = b.message_id WHERE a.exchange_time_ns >= {T0+3000} AND b.exchange_time_ns >= {T0+5000} ORDER BY ALL
SELECT t.log_row, u.price FROM trades t ASOF JOIN (SELECT * FROM trades WHERE exchange_time_ns >= {T0} AND symbol = 'B') u ON t.exchange_time_ns >= u.exchange_time_ns WHERE t.exchange_time_ns >= {T0+2000} ORDER BY ALL
SELECT count(*) FROM trades t SEMI JOIN (SELECT * FROM trades WHERE symbol = 'A' AND exchange_time_ns >= {T0}) USING (message_id) WHERE t.exchange_time_ns >= {T0+2000}
SELECT symbol FROM trades WHERE exchange_time_ns >= {T0} UNION SELECT 'Z' ORDER BY 1
SELECT symbol FROM trades WHERE exchange_time_ns >= {T0} EXCEPT SELECT 'A' ORDER BY 1
SELECT symbol, row_number() OVER (PARTITION BY symbol ORDER BY exchange_time_ns, log_row, log_partition, log_offset) AS n FROM trades WHERE exchange_time_ns >= {T0} ORDER BY ALL
SELECT symbol, price - lag(price) OVER (ORDER BY exchange_time_ns, log_partition, log_offset, log_row) AS d FROM trades WHERE exchange_time_ns >= {T0} QUALIFY d IS NOT NULL ORDER BY ALL
SELECT DISTINCT symbol FROM trades WHERE exchange_time_ns >= {T0} ORDER BY symbol
SELECT DISTINCT ON (symbol) symbol, price FROM trades WHERE exchange_time_ns >= {T0} ORDER BY symbol, exchange_time_ns DESC, log_offset DESC, log_row DESC
SELECT CASE WHEN side = 'buy' THEN 1 ELSE 0 END AS b, count(*) FROM trades WHERE exchange_time_ns >= {T0} GROUP BY ALL ORDER BY ALL
SELECT symbol FROM trades WHERE exchange_time_ns >= {T0} GROUP BY symbol HAVING count(*) > 15 ORDER BY 1
SELECT time_bucket(INTERVAL 4 MICROSECONDS, exchange_time) AS b, arg_max(price, (exchange_time_ns, log_offset, log_row)) AS c FROM trades WHERE exchange_time_ns >= {T0} GROUP BY 1 ORDER BY 1
SELECT symbol, quantile_cont(price::DOUBLE, 0.5) AS m FROM trades WHERE exchange_time_ns >= {T0} GROUP BY 1 ORDER BY 1
SELECT symbol FROM trades t WHERE t.exchange_time_ns >= {T0+2000} AND EXISTS (SELECT 1 FROM trades u WHERE u.symbol = t.symbol AND u.exchange_time_ns >= {T0} AND u.trade_id = 'id3') ORDER BY ALL
SELECT list(price ORDER BY price) AS l, map_keys(any_value(vendor)) AS k FROM trades WHERE exchange_time_ns >= {T0} AND vendor IS NOT NULL
SELECT conditions, len(conditions) AS n FROM trades WHERE exchange_time_ns >= {T0} AND conditions IS NOT NULL
SELECT upper(symbol) || '-' || exchange AS s FROM trades WHERE exchange_time_ns >= {T0} AND symbol LIKE 'A%'
SELECT r.range AS n, count(t.symbol) AS c FROM range(3) r LEFT JOIN trades t ON t.log_row = r.range WHERE t.exchange_time_ns >= {T0+2000} GROUP BY 1 ORDER BY 1
SELECT 1 AS one, NULL AS none, 1.5 AS d, [1, 2] AS l, {'k': 'v'} AS s, DATE '2026-01-02' AS t
SELECT t.* EXCLUDE (vendor, conditions) FROM trades t WHERE t.exchange_time_ns >= {T0+2000} ORDER BY ALL LIMIT 4 OFFSET 2
