-- Add members to a set and return those that anybody added lately, each with its age in seconds, after the time now.
-- KEYS: a sorted set of members by when they were added. ARGV: seconds to live, maximum of members, since when, members.
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
for i = 4, #ARGV do redis.call('ZADD', KEYS[1], now, ARGV[i]) end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[1])
redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -1 - ARGV[2])
if #ARGV > 3 then redis.call('EXPIRE', KEYS[1], ARGV[1]) end
local found = {string.format('%.6f', now)}
local members = redis.call('ZRANGEBYSCORE', KEYS[1], ARGV[3], '+inf', 'WITHSCORES')
for i = 1, #members, 2 do
  found[#found + 1] = members[i]
  found[#found + 1] = math.max(0, math.floor(now - members[i + 1]))
end
return found
