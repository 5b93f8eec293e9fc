-- Keep a value; return 1, or 0 if another value than the expected one is there.
-- KEYS: a hash of values, and a sorted set of their keys by when they expire.
-- ARGV: key, value, seconds, maximum of values, then the expected value if there is one.
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
for _, key in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'LIMIT', 0, 16)) do
  redis.call('HDEL', KEYS[1], key)
  redis.call('ZREM', KEYS[2], key)
end
if ARGV[5] then
  local score = redis.call('ZSCORE', KEYS[2], ARGV[1])
  local current = score and tonumber(score) > now and redis.call('HGET', KEYS[1], ARGV[1]) or ''
  if current ~= ARGV[5] then return 0 end
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('ZADD', KEYS[2], now + ARGV[3], ARGV[1])
while redis.call('ZCARD', KEYS[2]) > tonumber(ARGV[4]) do
  redis.call('HDEL', KEYS[1], redis.call('ZPOPMIN', KEYS[2])[1])
end
for i = 1, 2 do
  if redis.call('TTL', KEYS[i]) < tonumber(ARGV[3]) then redis.call('EXPIRE', KEYS[i], ARGV[3]) end
end
return 1
