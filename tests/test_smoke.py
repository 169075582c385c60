def test_life(api):
    r = api.call("Create", {"name": "A"})
    assert r.code == "ok", r
    i = r.dashboard["id"]
    assert api.call("Get", {"id": i}).dashboard["name"] == "A"
    r = api.call("Get", {"id": "nope"})
    assert r.code == "not_found" and r.reason and r.request_id, r
    r = api.call("Create", {"name": ""})
    assert r.code == "invalid_argument" and "name" in r.violations
    r = api.call("Create", {"name": "A"}, authorization=None)
    assert r.code == "unauthenticated", r
