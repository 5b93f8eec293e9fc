-- Say that a worker is there. Return the seconds and microseconds of the clock, and how many workers are there.
-- Writes, so that it fails where nothing can be written. KEYS: a sorted set of workers by when they were seen.
-- ARGV: worker, seconds until it counts as gone.
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[2])
redis.call('ZREMRANGEBYSCORE', KEYS[1], now + ARGV[2], '+inf')
redis.call('EXPIRE', KEYS[1], ARGV[2])
return {time[1], time[2], redis.call('ZCARD', KEYS[1])}
