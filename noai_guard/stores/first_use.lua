-- Return 1 if a key is used for the first time, 0 if not, -1 if there is no room to remember it.
-- KEYS: a sorted set of used keys by when they expire. ARGV: key, seconds, maximum of keys.
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local score = redis.call('ZSCORE', KEYS[1], ARGV[1])
if score and tonumber(score) > now then return 0 end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[3]) then return -1 end
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
if redis.call('TTL', KEYS[1]) < tonumber(ARGV[2]) then redis.call('EXPIRE', KEYS[1], ARGV[2]) end
return 1
