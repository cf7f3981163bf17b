-- What the year's receipts must come to, by DuckDB from the data set alone. Given beside it: `terms` and `levels` of the
-- programme; `came_back`, the goods that the tills took back (line_no is NULL where the whole receipt was cancelled);
-- the variables `transactions` (the parquet file) and `every` (each so-manieth household takes part).

CREATE MACRO cents(amount) AS CAST(round(amount * 100) AS BIGINT);

CREATE TABLE lines AS
SELECT household_id, store_id, basket_id, transaction_timestamp AS moment, file_row_number AS place, line_no,
       greatest(quantity, 1) AS pieces, greatest(cents(sales_value) - cents(coupon_disc), 0) AS total_minor
FROM (SELECT *, row_number() OVER (PARTITION BY basket_id ORDER BY file_row_number) AS line_no
      FROM read_parquet(getvariable('transactions'), file_row_number = true))
WHERE household_id % getvariable('every') = 0 AND NOT (quantity = 0 AND cents(sales_value) = 0);

CREATE TABLE purchases AS
SELECT household_id, store_id, basket_id, moment, min(place) AS place, CAST(sum(total_minor) AS BIGINT) AS total_minor,
       format('{0}-{1:02d}-2017-{2}', store_id, 1 + basket_id % (2 + store_id % 8), basket_id) AS receipt_id
FROM lines GROUP BY household_id, store_id, basket_id, moment;

-- The money that went back for each line before this return and up to it, by the pieces that came back.
CREATE TABLE money_back AS
SELECT basket_id, step, back_at, is_cancellation, line_no, total_minor,
       total_minor * (upto - back) // pieces AS before_minor, total_minor * upto // pieces AS upto_minor
FROM (SELECT lines.basket_id, step, back_at, came_back.line_no IS NULL AS is_cancellation,
             lines.line_no, total_minor, lines.pieces, coalesce(came_back.pieces, lines.pieces) AS back,
             sum(coalesce(came_back.pieces, lines.pieces))
                 OVER (PARTITION BY lines.basket_id, lines.line_no ORDER BY step) AS upto
      FROM came_back JOIN lines ON lines.basket_id = came_back.basket_id
           AND lines.line_no = coalesce(came_back.line_no, lines.line_no));

-- Everything that a household spent or got back, in its order, and what it had spent before.
CREATE TABLE spending AS
SELECT *, coalesce(sum(spent_minor) OVER (PARTITION BY household_id ORDER BY moment, place, step
                                          ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS spent_before
FROM (SELECT household_id, basket_id, 0 AS step, moment, place, total_minor AS spent_minor FROM purchases
      UNION ALL
      SELECT household_id, basket_id, step, back_at, any_value(place), sum(before_minor - upto_minor)
      FROM money_back JOIN purchases USING (basket_id) GROUP BY household_id, basket_id, step, back_at);

CREATE TABLE earned AS
SELECT reached.*, code AS level, total_minor * rate_basis_points // (10000 * point_worth_minor) AS points
FROM (SELECT purchases.*, terms.* EXCLUDE (lot_life_days), spent_before, purchases.moment + to_days(lot_life_days) AS expires_at
      FROM purchases JOIN spending USING (basket_id) ASOF JOIN terms ON purchases.moment >= terms.in_force_from
      WHERE step = 0) AS reached
     ASOF JOIN levels
     ON reached.in_force_from = levels.in_force_from AND reached.spent_before >= levels.spent_minor_from;

-- The points of a receipt over its lines, by the largest remainder; of equal ones the earlier line gets the point.
CREATE TABLE earned_by_line AS
SELECT basket_id, line_no,
       part + CAST(row_number() OVER (PARTITION BY basket_id ORDER BY remainder DESC, line_no)
                   <= points - sum(part) OVER (PARTITION BY basket_id) AS BIGINT) AS points
FROM (SELECT basket_id, line_no, points,
             coalesce(points * lines.total_minor // nullif(earned.total_minor, 0), 0) AS part,
             coalesce(points * lines.total_minor % nullif(earned.total_minor, 0), 0) AS remainder
      FROM lines JOIN earned USING (basket_id));

-- A line that is back whole takes all that it earned with it, a part of it no more than its share, rounded down.
CREATE TABLE taken_back AS
SELECT earned.household_id, earned.store_id, basket_id, step, back_at AS moment, receipt_id, is_cancellation,
       CASE WHEN is_cancellation THEN 'cancelled:' || receipt_id ELSE receipt_id || '-R' || step END AS return_id,
       CAST(sum(upto_minor - before_minor) AS BIGINT) AS total_minor,
       CAST(sum(CASE WHEN by_line.points = 0 THEN 0
                     ELSE by_line.points * upto_minor // money_back.total_minor
                          - by_line.points * before_minor // money_back.total_minor END) AS BIGINT) AS points
FROM money_back JOIN earned_by_line AS by_line USING (basket_id, line_no) JOIN earned USING (basket_id)
GROUP BY ALL;

CREATE TABLE operations AS
SELECT *, CAST(sum(points) OVER (PARTITION BY household_id ORDER BY moment, place, step) AS BIGINT) AS balance_after
FROM (SELECT household_id, receipt_id AS name, moment, place, 0 AS step, total_minor, points,
             CASE WHEN points > 0 THEN expires_at END AS expires_at FROM earned
      UNION ALL
      SELECT household_id, return_id, taken_back.moment, place, step, taken_back.total_minor, -points, NULL
      FROM taken_back JOIN purchases USING (household_id, basket_id));

CREATE TABLE customers AS
SELECT household_id, balance, spent.spent_minor, code AS level
FROM (SELECT household_id, CAST(sum(spent_minor) AS BIGINT) AS spent_minor FROM spending GROUP BY 1) AS spent
     JOIN (SELECT household_id, CAST(sum(points) AS BIGINT) AS balance FROM operations GROUP BY 1) USING (household_id)
     ASOF JOIN (SELECT * FROM levels WHERE in_force_from = (SELECT max(in_force_from) FROM terms)) AS newest
     ON spent.spent_minor >= newest.spent_minor_from;
