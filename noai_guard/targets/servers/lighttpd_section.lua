(function()
  local guard, remembered, count = dofile(__GUARD_FILE__), {}, 0
  return function(target)
    local section = remembered[target]
    if section then return section end
    section = guard.section_at(target)
    if count == 1024 then remembered, count = {}, 0 end
    if #target <= 1024 then remembered[target], count = section, count + 1 end
    return section
  end
end)()
