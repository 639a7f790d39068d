"""The web process: its composition root and its HTTP routes. `webui_st.py` starts it."""
