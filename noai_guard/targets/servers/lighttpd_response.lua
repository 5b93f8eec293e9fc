-- Runs for each response: adds the declared header lines of the section that contains the path, and puts documents in the
-- place of what another module has responded, for example because it had rewritten the path before ours saw it.
local declare = package.loaded["noai-guard-declare"]
if not declare then
  -- By section: name, the lines as one value, the lines. lighttpd joins the lines of a field into one value, in which
  -- each line but the first begins with the name.
  local declared = __DECLARED__
  local section_of = __SECTION_OF__
  local is_document = __IS_DOCUMENT__
  local guard
  local gmatch, ipairs, match, sub, tonumber = string.gmatch, ipairs, string.match, string.sub, tonumber

  local function has_line(value, expected)
    for line in gmatch(value, "[^\r\n]+") do
      if line == expected or sub(line, -#expected - 2) == ": " .. expected then return true end
    end
    return false
  end

  -- Return true if no byte of a body of this length is in the requested ranges.
  local function is_out_of_range(ranges, length)
    local list = match(ranges, "^bytes=([%d%s,-]*%d[%d%s,-]*)$")
    for range in gmatch(list or "0-", "[^,%s]+") do
      local first, last = match(range, "^(%d*)%-(%d*)$")
      if not first or (first == "" and tonumber(last) ~= 0) or (tonumber(first) or length) < length then return false end
    end
    return true
  end

  local BODY_FIELDS = {"Content-Length", "Content-Type", "ETag", "Last-Modified", "Cache-Control", "Expires"}
  local OTHERS_FIELDS = {"Content-Encoding", "Content-Range", "Location", "Set-Cookie", "Transfer-Encoding", "WWW-Authenticate"}

  local function without(headers, names)
    for _, name in ipairs(names) do headers[name] = nil end
  end

  -- Respond with the document at this target, as request.lua does, and return the status; nil if there is none.
  local function document_status(r, target)
    guard = guard or dofile(__GUARD_FILE__)
    local document, status = guard.document(r.req_attr["request.method"], target, r.req_header["If-None-Match"])
    if not document then return nil end
    without(r.resp_header, BODY_FIELDS)
    without(r.resp_header, OTHERS_FIELDS)
    for _, field in ipairs(document.headers) do r.resp_header[field[1]] = field[2] end
    r.resp_body.set(status == 200 and {document.body} or {})
    return status
  end

  -- lighttpd decides about ranges after this script, and removes every header from a response 416 of its own: so this
  -- makes that response. Return true if it does.
  local function refuses_range(r, ranges)
    local length = tonumber(r.resp_header["Content-Length"])
    local is_whole = r.req_item.http_status == 200 and length == r.resp_body.len
    if not is_whole or r.req_header["If-Range"] or not is_out_of_range(ranges, length) then return false end
    without(r.resp_header, BODY_FIELDS)
    r.resp_header["Content-Range"] = "bytes */" .. length
    r.resp_body.set({})
    return true
  end

  declare = function(r)
    local target, ranges = r.req_attr["request.orig-uri"], r.req_header["Range"]
    local status = is_document[target] and document_status(r, target) or ranges and refuses_range(r, ranges) and 416 or 0
    local headers = r.resp_header
    for _, field in ipairs(declared[section_of(target)]) do
      local name, lines = field[1], field[3]
      local present = headers[name]
      if not present then
        if name ~= "tdm-policy" or not headers["tdm-reservation"] then headers[name] = field[2] end
      elseif lines then
        for _, line in ipairs(lines) do
          if not has_line(present, line) then
            present = present .. "\r\n" .. name .. ": " .. line
            headers[name] = present
          end
        end
      end
    end
    return status
  end
  package.loaded["noai-guard-declare"] = declare
end
return declare(lighty.r)
