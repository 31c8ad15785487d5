-- schema
SELECT * FROM "shop"."orders" AS t LIMIT 0;

-- profile of a window
SELECT count(*),
  max("at"),
  ARRAY[count("amount"), count(*) FILTER (WHERE CAST("amount" AS DOUBLE PRECISION) = 'NaN'), count(*) FILTER (WHERE CAST("amount" AS DOUBLE PRECISION) = 'Infinity'), count(*) FILTER (WHERE CAST("amount" AS DOUBLE PRECISION) = '-Infinity'), count(*) FILTER (WHERE CAST("amount" AS DOUBLE PRECISION) <= -5e-324), count(*) FILTER (WHERE CAST("amount" AS DOUBLE PRECISION) <= 0e+00), count(*) FILTER (WHERE CAST("amount" AS DOUBLE PRECISION) <= 1.25e+01)],
  ARRAY[count("quantity"), count(*) FILTER (WHERE CAST("quantity" AS DOUBLE PRECISION) <= 1e+01), count(*) FILTER (WHERE CAST("quantity" AS DOUBLE PRECISION) <= 1e+06)],
  ARRAY[count("provider"), count(*) FILTER (WHERE "provider" = 'visa'), count(*) FILTER (WHERE "provider" = 'O''Brien'), count(*) FILTER (WHERE "provider" NOT IN ('visa', 'O''Brien', 'back\slash', ''))],
  ARRAY[count("gift"), count(*) FILTER (WHERE CAST("gift" AS TEXT) = 'true'), count(*) FILTER (WHERE CAST("gift" AS TEXT) = 'false')],
  ARRAY[count("seen"), count(*) FILTER (WHERE "seen" > "at" - INTERVAL '0' SECOND), count(*) FILTER (WHERE "seen" >= "at" - INTERVAL '60' SECOND), count(*) FILTER (WHERE "seen" >= "at" - INTERVAL '300' SECOND), count(*) FILTER (WHERE "seen" >= "at" - INTERVAL '900' SECOND), count(*) FILTER (WHERE "seen" >= "at" - INTERVAL '3600' SECOND), count(*) FILTER (WHERE "seen" >= "at" - INTERVAL '21600' SECOND), count(*) FILTER (WHERE "seen" >= "at" - INTERVAL '86400' SECOND), count(*) FILTER (WHERE "seen" >= "at" - INTERVAL '604800' SECOND), count(*) FILTER (WHERE "seen" >= "at" - INTERVAL '2592000' SECOND), count(*) FILTER (WHERE "seen" >= "at" - INTERVAL '31536000' SECOND)],
  ARRAY[count("born"), count(*) FILTER (WHERE "born" > "at" - INTERVAL '0' SECOND), count(*) FILTER (WHERE "born" >= "at" - INTERVAL '60' SECOND), count(*) FILTER (WHERE "born" >= "at" - INTERVAL '300' SECOND), count(*) FILTER (WHERE "born" >= "at" - INTERVAL '900' SECOND), count(*) FILTER (WHERE "born" >= "at" - INTERVAL '3600' SECOND), count(*) FILTER (WHERE "born" >= "at" - INTERVAL '21600' SECOND), count(*) FILTER (WHERE "born" >= "at" - INTERVAL '86400' SECOND), count(*) FILTER (WHERE "born" >= "at" - INTERVAL '604800' SECOND), count(*) FILTER (WHERE "born" >= "at" - INTERVAL '2592000' SECOND), count(*) FILTER (WHERE "born" >= "at" - INTERVAL '31536000' SECOND)],
  ARRAY[count("notes")]
FROM "shop"."orders" AS t WHERE "at" >= TIMESTAMP WITH TIME ZONE '2026-11-24 05:00:00.000000+00:00' AND "at" < TIMESTAMP WITH TIME ZONE '2026-11-24 06:00:00.000000+00:00';

-- profile of a table without a timestamp column
SELECT count(*),
  ARRAY[count("born"), count(*) FILTER (WHERE "born" > TIMESTAMP '2026-11-24 06:00:00.000000'), count(*) FILTER (WHERE "born" >= TIMESTAMP '2026-11-24 05:59:00.000000'), count(*) FILTER (WHERE "born" >= TIMESTAMP '2026-11-24 05:55:00.000000'), count(*) FILTER (WHERE "born" >= TIMESTAMP '2026-11-24 05:45:00.000000'), count(*) FILTER (WHERE "born" >= TIMESTAMP '2026-11-24 05:00:00.000000'), count(*) FILTER (WHERE "born" >= TIMESTAMP '2026-11-24 00:00:00.000000'), count(*) FILTER (WHERE "born" >= TIMESTAMP '2026-11-23 06:00:00.000000'), count(*) FILTER (WHERE "born" >= TIMESTAMP '2026-11-17 06:00:00.000000'), count(*) FILTER (WHERE "born" >= TIMESTAMP '2026-10-25 06:00:00.000000'), count(*) FILTER (WHERE "born" >= TIMESTAMP '2025-11-24 06:00:00.000000')]
FROM (
SELECT * FROM shop.orders
) AS t;

-- latest record
SELECT count(*),
  max("at")
FROM "shop"."orders" AS t WHERE "at" < TIMESTAMP WITH TIME ZONE '2026-11-24 06:00:00.000000+00:00';

-- statistics that choose bins
SELECT count(*),
  ARRAY[count("amount"), count(DISTINCT "amount")],
  ARRAY[count("quantity"), count(DISTINCT "quantity")],
  ARRAY[count("provider"), count(DISTINCT "provider")],
  ARRAY[count("gift"), count(DISTINCT "gift")]
FROM "shop"."orders" AS t;

-- quantiles
SELECT percentile_disc(CAST(ARRAY[0e+00, 2.5e-01, 5e-01, 7.5e-01] AS DOUBLE PRECISION[])) WITHIN GROUP (ORDER BY CAST("amount" AS DOUBLE PRECISION)) FILTER (WHERE CAST("amount" AS DOUBLE PRECISION) NOT IN ('NaN', 'Infinity', '-Infinity')),
  percentile_disc(CAST(ARRAY[0e+00, 2.5e-01, 5e-01, 7.5e-01] AS DOUBLE PRECISION[])) WITHIN GROUP (ORDER BY CAST("quantity" AS DOUBLE PRECISION)) FILTER (WHERE CAST("quantity" AS DOUBLE PRECISION) NOT IN ('NaN', 'Infinity', '-Infinity'))
FROM "shop"."orders" AS t;

-- categories
SELECT category, count(*) AS n FROM (SELECT CAST("gift" AS TEXT) AS category FROM "shop"."orders" AS t) AS c WHERE category IS NOT NULL GROUP BY category ORDER BY n DESC, category LIMIT 2001;

-- comparison
SELECT 1 WHERE at >= TIMESTAMP WITH TIME ZONE '2026-11-24 05:00:00.000000+00:00' AND at < TIMESTAMP WITH TIME ZONE '2026-11-24 06:00:00.000000+00:00';

-- hours of a window
SELECT floor((CAST(extract(epoch FROM "at") AS DOUBLE PRECISION)) / 3600),
  count(*),
  max("at"),
  ARRAY[count("amount")]
FROM "shop"."orders" AS t WHERE "at" >= TIMESTAMP WITH TIME ZONE '2026-11-24 05:00:00.000000+00:00' AND "at" < TIMESTAMP WITH TIME ZONE '2026-11-24 06:00:00.000000+00:00'
GROUP BY floor((CAST(extract(epoch FROM "at") AS DOUBLE PRECISION)) / 3600);

-- records outside the window
SELECT count(*) FILTER (WHERE "at" IS NULL), count(*) FILTER (WHERE "at" >= TIMESTAMP WITH TIME ZONE '2026-11-24 06:00:00.000000+00:00'), count("at"), max(CASE WHEN "at" IS NULL THEN CAST("at" AS TEXT) END)
FROM "shop"."orders" AS t WHERE "at" IS NULL OR "at" >= TIMESTAMP WITH TIME ZONE '2026-11-24 06:00:00.000000+00:00';

-- duplicates of many rows
SELECT sum(n - 1) FROM (SELECT count(*) AS n FROM "shop"."orders" AS t WHERE "at" >= TIMESTAMP WITH TIME ZONE '2026-11-24 05:00:00.000000+00:00' AND "at" < TIMESTAMP WITH TIME ZONE '2026-11-24 06:00:00.000000+00:00' AND "quantity" IS NOT NULL AND "provider" IS NOT NULL AND hashtext(CAST("quantity" AS TEXT) || '|' || CAST("provider" AS TEXT)) % 16 = 0 GROUP BY "quantity", "provider" HAVING count(*) > 1) AS k;

-- checks
SELECT ARRAY[count(*) FILTER (WHERE "provider" NOT IN ('visa', 'O''Brien')), count(*) FILTER (WHERE ("quantity" < 0 OR "quantity" > 10)), count(*) FILTER (WHERE NOT ("provider" ~ '^\w+$')), count(*) FILTER (WHERE ("born" < TIMESTAMP '2026-11-24 00:00:00.000000')), count(*) FILTER (WHERE "amount" IS NULL), count(*) FILTER (WHERE NOT (amount >= 0
))]
FROM "shop"."orders" AS t WHERE "at" >= TIMESTAMP WITH TIME ZONE '2026-11-24 05:00:00.000000+00:00' AND "at" < TIMESTAMP WITH TIME ZONE '2026-11-24 06:00:00.000000+00:00';

-- checks
SELECT count(*) FILTER (WHERE "provider" NOT IN ('visa', 'O''Brien'))
FROM "shop"."orders" AS t WHERE "at" >= TIMESTAMP WITH TIME ZONE '2026-11-24 05:00:00.000000+00:00' AND "at" < TIMESTAMP WITH TIME ZONE '2026-11-24 06:00:00.000000+00:00';

-- checks
SELECT count(*) FILTER (WHERE ("quantity" < 0 OR "quantity" > 10))
FROM "shop"."orders" AS t WHERE "at" >= TIMESTAMP WITH TIME ZONE '2026-11-24 05:00:00.000000+00:00' AND "at" < TIMESTAMP WITH TIME ZONE '2026-11-24 06:00:00.000000+00:00';

-- checks
SELECT count(*) FILTER (WHERE NOT ("provider" ~ '^\w+$'))
FROM "shop"."orders" AS t WHERE "at" >= TIMESTAMP WITH TIME ZONE '2026-11-24 05:00:00.000000+00:00' AND "at" < TIMESTAMP WITH TIME ZONE '2026-11-24 06:00:00.000000+00:00';

-- checks
SELECT count(*) FILTER (WHERE ("born" < TIMESTAMP '2026-11-24 00:00:00.000000'))
FROM "shop"."orders" AS t WHERE "at" >= TIMESTAMP WITH TIME ZONE '2026-11-24 05:00:00.000000+00:00' AND "at" < TIMESTAMP WITH TIME ZONE '2026-11-24 06:00:00.000000+00:00';

-- checks
SELECT count(*) FILTER (WHERE "amount" IS NULL)
FROM "shop"."orders" AS t WHERE "at" >= TIMESTAMP WITH TIME ZONE '2026-11-24 05:00:00.000000+00:00' AND "at" < TIMESTAMP WITH TIME ZONE '2026-11-24 06:00:00.000000+00:00';

-- checks
SELECT count(*) FILTER (WHERE NOT (amount >= 0
))
FROM "shop"."orders" AS t WHERE "at" >= TIMESTAMP WITH TIME ZONE '2026-11-24 05:00:00.000000+00:00' AND "at" < TIMESTAMP WITH TIME ZONE '2026-11-24 06:00:00.000000+00:00';

-- classes against their labels
SELECT coalesce(CAST("provider" AS TEXT), ''),
  coalesce(CAST("quantity" AS TEXT), ''),
  coalesce(CAST("born" AS TEXT), ''),
  coalesce(CAST("provider" AS TEXT), 'null'),
  coalesce(CAST("gift" AS TEXT), 'null'),
  count(*),
  count("born"),
  sum(CAST(extract(epoch FROM "born") AS DOUBLE PRECISION) - CAST(extract(epoch FROM "at") AS DOUBLE PRECISION)),
  0,
  0
FROM "shop"."orders" AS t WHERE "at" >= TIMESTAMP WITH TIME ZONE '2026-11-24 05:00:00.000000+00:00' AND "at" < TIMESTAMP WITH TIME ZONE '2026-11-24 06:00:00.000000+00:00' AND "gift" IS NOT NULL
GROUP BY coalesce(CAST("provider" AS TEXT), ''), coalesce(CAST("quantity" AS TEXT), ''), coalesce(CAST("born" AS TEXT), ''), coalesce(CAST("provider" AS TEXT), 'null'), coalesce(CAST("gift" AS TEXT), 'null')
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
  sum(abs(CAST("amount" AS DOUBLE PRECISION) - CAST("quantity" AS DOUBLE PRECISION))),
  sum((CAST("amount" AS DOUBLE PRECISION) - CAST("quantity" AS DOUBLE PRECISION)) * (CAST("amount" AS DOUBLE PRECISION) - CAST("quantity" AS DOUBLE PRECISION)))
FROM "shop"."orders" AS t WHERE "amount" IS NOT NULL AND "quantity" IS NOT NULL AND CAST("amount" AS DOUBLE PRECISION) <> '-Infinity' AND CAST("amount" AS DOUBLE PRECISION) <> 'Infinity' AND NOT (CAST("amount" AS DOUBLE PRECISION) = 'NaN')
LIMIT 1001;
