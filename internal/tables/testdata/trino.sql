-- schema
SELECT * FROM "shop"."orders" AS t LIMIT 0;

-- profile of a window
SELECT count(*),
  max("at"),
  ARRAY[count("amount"), count_if(is_nan(CAST("amount" AS DOUBLE))), count_if(CAST("amount" AS DOUBLE) = infinity()), count_if(CAST("amount" AS DOUBLE) = -infinity()), count_if(CAST("amount" AS DOUBLE) <= -5e-324), count_if(CAST("amount" AS DOUBLE) <= 0e+00), count_if(CAST("amount" AS DOUBLE) <= 1.25e+01)],
  ARRAY[count("quantity"), count_if(CAST("quantity" AS DOUBLE) <= 1e+01), count_if(CAST("quantity" AS DOUBLE) <= 1e+06)],
  ARRAY[count("provider"), count_if("provider" = 'visa'), count_if("provider" = 'O''Brien'), count_if("provider" NOT IN ('visa', 'O''Brien', 'back\slash', ''))],
  ARRAY[count("gift"), count_if(CAST("gift" AS VARCHAR) = 'true'), count_if(CAST("gift" AS VARCHAR) = 'false')],
  ARRAY[count("seen"), count_if("seen" > "at" - INTERVAL '0' SECOND), count_if("seen" >= "at" - INTERVAL '60' SECOND), count_if("seen" >= "at" - INTERVAL '300' SECOND), count_if("seen" >= "at" - INTERVAL '900' SECOND), count_if("seen" >= "at" - INTERVAL '3600' SECOND), count_if("seen" >= "at" - INTERVAL '21600' SECOND), count_if("seen" >= "at" - INTERVAL '86400' SECOND), count_if("seen" >= "at" - INTERVAL '604800' SECOND), count_if("seen" >= "at" - INTERVAL '2592000' SECOND), count_if("seen" >= "at" - INTERVAL '31536000' SECOND)],
  ARRAY[count("born"), count_if("born" > "at" - INTERVAL '0' SECOND), count_if("born" >= "at" - INTERVAL '60' SECOND), count_if("born" >= "at" - INTERVAL '300' SECOND), count_if("born" >= "at" - INTERVAL '900' SECOND), count_if("born" >= "at" - INTERVAL '3600' SECOND), count_if("born" >= "at" - INTERVAL '21600' SECOND), count_if("born" >= "at" - INTERVAL '86400' SECOND), count_if("born" >= "at" - INTERVAL '604800' SECOND), count_if("born" >= "at" - INTERVAL '2592000' SECOND), count_if("born" >= "at" - INTERVAL '31536000' SECOND)],
  ARRAY[count("notes")]
FROM "shop"."orders" AS t WHERE "at" >= TIMESTAMP '2026-11-24 05:00:00.000000 UTC' AND "at" < TIMESTAMP '2026-11-24 06:00:00.000000 UTC';

-- profile of a table without a timestamp column
SELECT count(*),
  ARRAY[count("born"), count_if("born" > TIMESTAMP '2026-11-24 06:00:00.000000'), count_if("born" >= TIMESTAMP '2026-11-24 05:59:00.000000'), count_if("born" >= TIMESTAMP '2026-11-24 05:55:00.000000'), count_if("born" >= TIMESTAMP '2026-11-24 05:45:00.000000'), count_if("born" >= TIMESTAMP '2026-11-24 05:00:00.000000'), count_if("born" >= TIMESTAMP '2026-11-24 00:00:00.000000'), count_if("born" >= TIMESTAMP '2026-11-23 06:00:00.000000'), count_if("born" >= TIMESTAMP '2026-11-17 06:00:00.000000'), count_if("born" >= TIMESTAMP '2026-10-25 06:00:00.000000'), count_if("born" >= TIMESTAMP '2025-11-24 06:00:00.000000')]
FROM (
SELECT * FROM shop.orders
) AS t;

-- latest record
SELECT count(*),
  max("at")
FROM "shop"."orders" AS t WHERE "at" < TIMESTAMP '2026-11-24 06:00:00.000000 UTC';

-- statistics that choose bins
SELECT count(*),
  ARRAY[count("amount"), approx_distinct("amount")],
  ARRAY[count("quantity"), approx_distinct("quantity")],
  ARRAY[count("provider"), approx_distinct("provider")],
  ARRAY[count("gift"), approx_distinct("gift")]
FROM "shop"."orders" AS t;

-- quantiles
SELECT approx_percentile(CAST("amount" AS DOUBLE), ARRAY[0e+00, 2.5e-01, 5e-01, 7.5e-01]) FILTER (WHERE is_finite(CAST("amount" AS DOUBLE))),
  approx_percentile(CAST("quantity" AS DOUBLE), ARRAY[0e+00, 2.5e-01, 5e-01, 7.5e-01]) FILTER (WHERE is_finite(CAST("quantity" AS DOUBLE)))
FROM "shop"."orders" AS t;

-- categories
SELECT category, count(*) AS n FROM (SELECT CAST("gift" AS VARCHAR) AS category FROM "shop"."orders" AS t) AS c WHERE category IS NOT NULL GROUP BY category ORDER BY n DESC, category LIMIT 2001;

-- comparison
SELECT 1 WHERE at >= TIMESTAMP '2026-11-24 05:00:00.000000 UTC' AND at < TIMESTAMP '2026-11-24 06:00:00.000000 UTC';

-- hours of a window
SELECT floor((to_unixtime("at")) / 3600),
  count(*),
  max("at"),
  ARRAY[count("amount")]
FROM "shop"."orders" AS t WHERE "at" >= TIMESTAMP '2026-11-24 05:00:00.000000 UTC' AND "at" < TIMESTAMP '2026-11-24 06:00:00.000000 UTC'
GROUP BY floor((to_unixtime("at")) / 3600);

-- records outside the window
SELECT count_if("at" IS NULL), count_if("at" >= TIMESTAMP '2026-11-24 06:00:00.000000 UTC'), count("at"), max(CASE WHEN "at" IS NULL THEN CAST("at" AS VARCHAR) END)
FROM "shop"."orders" AS t WHERE "at" IS NULL OR "at" >= TIMESTAMP '2026-11-24 06:00:00.000000 UTC';

-- duplicates of many rows
SELECT sum(n - 1) FROM (SELECT count(*) AS n FROM "shop"."orders" AS t WHERE "at" >= TIMESTAMP '2026-11-24 05:00:00.000000 UTC' AND "at" < TIMESTAMP '2026-11-24 06:00:00.000000 UTC' AND "quantity" IS NOT NULL AND "provider" IS NOT NULL AND from_big_endian_64(xxhash64(to_utf8(CAST("quantity" AS VARCHAR) || '|' || CAST("provider" AS VARCHAR)))) % 16 = 0 GROUP BY "quantity", "provider" HAVING count(*) > 1) AS k;

-- checks
SELECT ARRAY[count_if("provider" NOT IN ('visa', 'O''Brien')), count_if(("quantity" < 0 OR "quantity" > 10)), count_if(NOT regexp_like("provider", '^\w+$')), count_if(("born" < TIMESTAMP '2026-11-24 00:00:00.000000')), count_if("amount" IS NULL), count_if(NOT (amount >= 0
))]
FROM "shop"."orders" AS t WHERE "at" >= TIMESTAMP '2026-11-24 05:00:00.000000 UTC' AND "at" < TIMESTAMP '2026-11-24 06:00:00.000000 UTC';

-- checks
SELECT count_if("provider" NOT IN ('visa', 'O''Brien'))
FROM "shop"."orders" AS t WHERE "at" >= TIMESTAMP '2026-11-24 05:00:00.000000 UTC' AND "at" < TIMESTAMP '2026-11-24 06:00:00.000000 UTC';

-- checks
SELECT count_if(("quantity" < 0 OR "quantity" > 10))
FROM "shop"."orders" AS t WHERE "at" >= TIMESTAMP '2026-11-24 05:00:00.000000 UTC' AND "at" < TIMESTAMP '2026-11-24 06:00:00.000000 UTC';

-- checks
SELECT count_if(NOT regexp_like("provider", '^\w+$'))
FROM "shop"."orders" AS t WHERE "at" >= TIMESTAMP '2026-11-24 05:00:00.000000 UTC' AND "at" < TIMESTAMP '2026-11-24 06:00:00.000000 UTC';

-- checks
SELECT count_if(("born" < TIMESTAMP '2026-11-24 00:00:00.000000'))
FROM "shop"."orders" AS t WHERE "at" >= TIMESTAMP '2026-11-24 05:00:00.000000 UTC' AND "at" < TIMESTAMP '2026-11-24 06:00:00.000000 UTC';

-- checks
SELECT count_if("amount" IS NULL)
FROM "shop"."orders" AS t WHERE "at" >= TIMESTAMP '2026-11-24 05:00:00.000000 UTC' AND "at" < TIMESTAMP '2026-11-24 06:00:00.000000 UTC';

-- checks
SELECT count_if(NOT (amount >= 0
))
FROM "shop"."orders" AS t WHERE "at" >= TIMESTAMP '2026-11-24 05:00:00.000000 UTC' AND "at" < TIMESTAMP '2026-11-24 06:00:00.000000 UTC';

-- classes against their labels
SELECT coalesce(CAST("provider" AS VARCHAR), ''),
  coalesce(CAST("quantity" AS VARCHAR), ''),
  coalesce(CAST("born" AS VARCHAR), ''),
  coalesce(CAST("provider" AS VARCHAR), 'null'),
  coalesce(CAST("gift" AS VARCHAR), 'null'),
  count(*),
  count("born"),
  sum(to_unixtime(CAST("born" AS TIMESTAMP)) - to_unixtime("at")),
  0,
  0
FROM "shop"."orders" AS t WHERE "at" >= TIMESTAMP '2026-11-24 05:00:00.000000 UTC' AND "at" < TIMESTAMP '2026-11-24 06:00:00.000000 UTC' AND "gift" IS NOT NULL
GROUP BY coalesce(CAST("provider" AS VARCHAR), ''), coalesce(CAST("quantity" AS VARCHAR), ''), coalesce(CAST("born" AS VARCHAR), ''), coalesce(CAST("provider" AS VARCHAR), 'null'), coalesce(CAST("gift" AS VARCHAR), 'null')
LIMIT 1001;

-- quantities against their labels
SELECT '',
  '',
  '',
  '',
  '',
  count(*),
  0,
  0,
  sum(abs(CAST("amount" AS DOUBLE) - CAST("quantity" AS DOUBLE))),
  sum((CAST("amount" AS DOUBLE) - CAST("quantity" AS DOUBLE)) * (CAST("amount" AS DOUBLE) - CAST("quantity" AS DOUBLE)))
FROM "shop"."orders" AS t WHERE "amount" IS NOT NULL AND "quantity" IS NOT NULL AND CAST("amount" AS DOUBLE) <> -infinity() AND CAST("amount" AS DOUBLE) <> infinity() AND NOT (is_nan(CAST("amount" AS DOUBLE)))
LIMIT 1001;
