//! 307 keeps the body: whoever follows it gives the code away.

use crate::kit::*;

#[tokio::test]
async fn the_code_stays_on_its_connection() {
    let house = Plan::new().open().await;
    let mut agent = house.agent().await;
    let trap = Trap::new();
    for (count, status) in [307, 308, 302].into_iter().enumerate() {
        let location = format!("https://127.0.0.1:{}/token", trap.port());
        let told = answered(&house, &mut agent, Behaviour::Redirect { status, location }).await;
        assert_eq!((told.code(), reason(&told).as_str()), (Code::Internal, "AS_REDIRECT_REFUSED"));
        assert_eq!(house.server.token_posts(), count + 1);
    }
    trap.assert_untouched();
    assert_nothing_issued(&house);
}
