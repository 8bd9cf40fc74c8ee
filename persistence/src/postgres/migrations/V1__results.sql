-- The tables of one shard. Ids are UUIDs, money is integer minor units with an ISO 4217 code, times
-- are TIMESTAMPTZ with microseconds, statuses are words of the public contract.
--
-- Rows of one buyer (users, orders, order_items, payments) stand on the shard that owns the buyer's
-- bucket; products stand on every shard. Nothing references across the two: a product whose
-- definition became a dead letter must not take all its orders with it.

-- What this database is. One row, made here, so that a database can be told from another and from
-- its own copy before anybody claims it.
CREATE TABLE shard (
    lone            BOOLEAN PRIMARY KEY DEFAULT TRUE CHECK (lone),
    id              UUID NOT NULL DEFAULT gen_random_uuid(),
    name            TEXT,
    cluster         TEXT,
    partitions      INTEGER CHECK (partitions BETWEEN 1 AND 4096),
    -- Ranges such as '0-255,512', or 'none'.
    buckets         TEXT NOT NULL DEFAULT 'none',
    -- Buckets whose rows may stand here though the shard does not own them: they are being copied
    -- in, or went to another shard and are not dropped yet.
    in_transit      TEXT NOT NULL DEFAULT 'none',
    -- Grows with every change of `buckets`. Where a move was interrupted and two shards own a
    -- bucket, the one with the higher version has it.
    map_version     BIGINT NOT NULL DEFAULT 0 CHECK (map_version >= 0),
    CHECK ((name IS NULL) = (cluster IS NULL) AND (name IS NULL) = (partitions IS NULL))
);
INSERT INTO shard DEFAULT VALUES;

-- Shards that buckets of this one went to. Their URLs are sealed with the key that the roles share,
-- so that a running edge or projector finds them without being told.
CREATE TABLE peers (
    name            TEXT PRIMARY KEY,
    sealed_url      BYTEA NOT NULL,
    added_at        TIMESTAMPTZ NOT NULL DEFAULT now()
);

-- How far each partition's feed has been written here, in the transaction that wrote the rows.
CREATE TABLE checkpoints (
    partition       SMALLINT PRIMARY KEY CHECK (partition BETWEEN 0 AND 4095),
    epoch           BIGINT NOT NULL CHECK (epoch >= 0),
    sequence        BIGINT NOT NULL CHECK (sequence >= 0)
) WITH (fillfactor = 50);

-- Buyers, from their first order on. Everything but the id is for the shop to fill.
CREATE TABLE users (
    id              UUID PRIMARY KEY,
    email           VARCHAR(255) UNIQUE,
    password_hash   VARCHAR(255),
    full_name       VARCHAR(255),
    phone           VARCHAR(20),
    created_at      TIMESTAMPTZ NOT NULL DEFAULT now(),
    updated_at      TIMESTAMPTZ NOT NULL DEFAULT now()
);
CREATE INDEX users_by_age ON users (created_at);

-- `name`, `description` and `catalog_at` are the catalog's; it may come before the definition. The
-- columns of the definition come from the feed, all of them or none.
CREATE TABLE products (
    id                  UUID PRIMARY KEY,
    name                TEXT,
    description         TEXT,
    catalog_at          TIMESTAMPTZ,
    price               BIGINT CHECK (price BETWEEN 0 AND 1000000000000),
    currency            TEXT CHECK (currency ~ '^[A-Z]{3}$'),
    inventory           INTEGER CHECK (inventory BETWEEN 0 AND 1000000000),
    is_flash_sale       BOOLEAN NOT NULL DEFAULT TRUE,
    flash_sale_price    BIGINT GENERATED ALWAYS AS (CASE WHEN is_flash_sale THEN price END) STORED,
    flash_sale_start    TIMESTAMPTZ,
    flash_sale_end      TIMESTAMPTZ,
    category_id         UUID,
    state               TEXT CHECK (state IN ('open', 'paused')),
    limit_per_user      BIGINT CHECK (limit_per_user >= 0),
    hold_seconds        BIGINT CHECK (hold_seconds >= 0),
    waitlist_capacity   BIGINT CHECK (waitlist_capacity >= 0),
    created_at          TIMESTAMPTZ,
    updated_at          TIMESTAMPTZ,
    version             BIGINT CHECK (version >= 0),
    CHECK (created_at IS NULL OR (price IS NOT NULL AND currency IS NOT NULL
        AND inventory IS NOT NULL AND state IS NOT NULL AND limit_per_user IS NOT NULL
        AND hold_seconds IS NOT NULL AND waitlist_capacity IS NOT NULL AND updated_at IS NOT NULL
        AND version IS NOT NULL))
);
CREATE INDEX products_by_age ON products (created_at DESC, id DESC) WHERE created_at IS NOT NULL;
CREATE INDEX products_by_category ON products (category_id);
CREATE INDEX products_by_sale ON products (is_flash_sale, flash_sale_start);
CREATE INDEX products_by_price ON products (price);

-- `payment_method` and `shipping_address` are for the shop to fill. `version` is the event, in the
-- order's partition, that changed the row last.
CREATE TABLE orders (
    id                  UUID PRIMARY KEY,
    user_id             UUID NOT NULL,
    total_amount        BIGINT NOT NULL CHECK (total_amount >= 0),
    currency            TEXT NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    status              TEXT NOT NULL CHECK (status IN ('queued', 'pending', 'paid', 'cancelled',
                            'expired', 'shipped', 'completed', 'refunded')),
    payment_method      VARCHAR(50),
    shipping_address    TEXT,
    created_at          TIMESTAMPTZ NOT NULL,
    updated_at          TIMESTAMPTZ NOT NULL,
    expires_at          TIMESTAMPTZ,
    version             BIGINT NOT NULL CHECK (version >= 0)
);
CREATE INDEX orders_by_user ON orders (user_id, created_at DESC, id DESC);
CREATE INDEX orders_by_status ON orders (status);
CREATE INDEX orders_by_age ON orders (created_at);

-- An item is named by its order and its line.
CREATE TABLE order_items (
    order_id        UUID NOT NULL REFERENCES orders (id) ON DELETE CASCADE,
    line            SMALLINT NOT NULL CHECK (line >= 0),
    product_id      UUID NOT NULL,
    quantity        INTEGER NOT NULL CHECK (quantity BETWEEN 1 AND 1000),
    price           BIGINT NOT NULL CHECK (price >= 0),
    created_at      TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (order_id, line)
);
CREATE INDEX order_items_by_product ON order_items (product_id);

-- What the payment service knows of a payment. The engine's part of it is the order's status.
CREATE TABLE payments (
    id              UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    order_id        UUID NOT NULL REFERENCES orders (id) ON DELETE CASCADE,
    user_id         UUID NOT NULL,
    amount          BIGINT NOT NULL CHECK (amount >= 0),
    currency        TEXT NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    status          TEXT NOT NULL CHECK (status IN ('pending', 'succeeded', 'failed', 'refunded')),
    method          VARCHAR(50),
    transaction_id  VARCHAR(255),
    created_at      TIMESTAMPTZ NOT NULL DEFAULT now(),
    updated_at      TIMESTAMPTZ NOT NULL DEFAULT now()
);
CREATE INDEX payments_by_order ON payments (order_id, status);
CREATE INDEX payments_by_user ON payments (user_id, created_at DESC);
CREATE UNIQUE INDEX payments_by_transaction ON payments (transaction_id)
    WHERE transaction_id IS NOT NULL;

-- Changes that could not be written, with the cause. The rest went on.
CREATE TABLE dead_letters (
    partition       SMALLINT NOT NULL,
    sequence        BIGINT NOT NULL,
    line            INTEGER NOT NULL,
    at              TIMESTAMPTZ,
    reason          TEXT NOT NULL,
    change          TEXT NOT NULL,
    event           BYTEA,
    buried_at       TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (partition, sequence, line)
);

-- The bucket of an order's buyer, 0 to 1023, which stands in its id: the ten bits after the variant.
CREATE FUNCTION order_bucket(id UUID) RETURNS INTEGER
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN ((get_byte(uuid_send(id), 8) & 63) << 4) | (get_byte(uuid_send(id), 9) >> 4);

-- While buckets move away, triggers note here which rows changed since they were copied.
CREATE TABLE moving_changes (
    number          BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- 'order' (with its items and payments) or 'user'.
    kind            TEXT NOT NULL CHECK (kind IN ('order', 'user')),
    id              UUID NOT NULL
);
