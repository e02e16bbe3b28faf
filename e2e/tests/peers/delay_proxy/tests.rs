use super::*;

const LONG: Duration = Duration::from_millis(40);

/// A line there, and the line back: how long each took at least, as both ends see it.
async fn exchange(up: Delay, down: Delay) -> [Duration; 2] {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = listener.local_addr().unwrap().to_string();
    let proxy = DelayProxy::start(to, up, down).await;
    let (mut near, (mut far, _)) = tokio::join!(
        async { TcpStream::connect(proxy.address()).await.unwrap() },
        async { listener.accept().await.unwrap() }
    );
    let mut ways = [Duration::ZERO; 2];
    for (way, there) in ways.iter_mut().zip([true, false]) {
        let (from, to) = if there {
            (&mut near, &mut far)
        } else {
            (&mut far, &mut near)
        };
        let sent = Instant::now();
        from.write_all(b"x").await.unwrap();
        assert_eq!(to.read_u8().await.unwrap(), b'x');
        *way = sent.elapsed();
    }
    ways
}

#[tokio::test]
async fn each_direction_takes_at_least_its_own_delay() {
    let [up, _] = exchange(Delay::fixed(40), Delay::fixed(0)).await;
    let [_, down] = exchange(Delay::fixed(0), Delay::fixed(40)).await;
    assert!(up >= LONG && down >= LONG, "{up:?} {down:?}");
}

/// The fastest of some exchanges: a busy machine makes it slower, never faster, and not each time.
#[tokio::test]
async fn the_other_direction_is_not_delayed() {
    let mut fastest = Duration::MAX;
    for _ in 0..100 {
        let [up, _] = exchange(Delay::fixed(0), Delay::fixed(40)).await;
        fastest = fastest.min(up);
        if fastest < LONG {
            return;
        }
    }
    panic!("{fastest:?} at best");
}

#[tokio::test]
async fn what_goes_through_a_jittery_link_arrives_whole_and_in_order() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = listener.local_addr().unwrap().to_string();
    let jittery = Delay::fixed(0).and_up_to(20);
    let proxy = DelayProxy::start(to, jittery, jittery).await;
    let mut near = TcpStream::connect(proxy.address()).await.unwrap();
    let echo = async {
        let (mut far, _) = listener.accept().await.unwrap();
        let (mut from, mut to) = far.split();
        tokio::io::copy(&mut from, &mut to).await.unwrap();
    };
    let talk = async {
        let sent: Vec<u8> = (0..100_000u32).flat_map(u32::to_le_bytes).collect();
        let (mut from, mut to) = near.split();
        let write = async {
            for piece in sent.chunks(3001) {
                to.write_all(piece).await.unwrap();
                tokio::task::yield_now().await;
            }
            to.shutdown().await.unwrap();
        };
        let mut back = Vec::new();
        let (_, read) = tokio::join!(write, from.read_to_end(&mut back));
        read.unwrap();
        assert!(back == sent, "{} of {} bytes", back.len(), sent.len());
    };
    tokio::join!(echo, talk);
}

#[test]
fn jitter_is_a_part_of_the_delay_that_chance_decides() {
    let dice = Mutex::new(Dice::new(1));
    let jittery = Delay::fixed(10).and_up_to(2);
    let drawn: Vec<_> = (0..1000).map(|_| jittery.draw(&dice)).collect();
    let (least, most) = (drawn.iter().min().unwrap(), drawn.iter().max().unwrap());
    let milliseconds = |number: f64| Duration::from_secs_f64(number / 1000.0);
    assert!(*least >= milliseconds(10.0) && *least < milliseconds(10.1));
    assert!(*most <= milliseconds(12.0) && *most > milliseconds(11.9));
    assert_eq!(Delay::fixed(10).draw(&dice), milliseconds(10.0));
}

#[tokio::test]
async fn a_broker_that_is_away_hangs_up() {
    let port = baton_e2e::ports::free_port();
    let delay = Delay::fixed(0);
    let proxy = DelayProxy::start(format!("127.0.0.1:{port}"), delay, delay).await;
    let mut near = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(near.read(&mut [0]).await.unwrap_or_default(), 0);
}
