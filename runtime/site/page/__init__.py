"""The fleet page: a site's units in a browser, and who may look at them."""
