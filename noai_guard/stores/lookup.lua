-- Return a value, or an empty text. KEYS: as for keep.lua. ARGV: key.
local time = redis.call('TIME')
local score = redis.call('ZSCORE', KEYS[2], ARGV[1])
if score and tonumber(score) > time[1] + time[2] / 1000000 then return redis.call('HGET', KEYS[1], ARGV[1]) or '' end
return ''
